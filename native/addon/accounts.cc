// The name service is the one thing in the addon that is not a system call: the kernel knows no names, and a
// child process for each look-up would cost more than the rest of a launch.
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <vector>

#include "border.h"

namespace berth::addon {
namespace {

// An entry of a directory service with many members does not fit what sysconf(_SC_GETGR_R_SIZE_MAX) suggests.
constexpr size_t kMostBytes = size_t{16} << 20;

/// Calls a getXXX_r(3) function with a growing buffer. 1: found, 0: unknown, -1: failed.
template <typename Entry, typename Key>
int look_up(int (*call)(Key, Entry*, char*, size_t, Entry**), Key key, Entry& entry,
            std::vector<char>& buffer, const char* name, Failure& failure) {
    buffer.resize(4096);
    for (;;) {
        Entry* found = nullptr;
        const int error = call(key, &entry, buffer.data(), buffer.size(), &found);
        if (error == 0) return found != nullptr ? 1 : 0;
        if (error == ERANGE && buffer.size() < kMostBytes) {
            buffer.resize(buffer.size() * 4);
            continue;
        }
        if (error == EINTR) continue;
        // Name services say "no such entry" in several ways: getpwnam(3), notes.
        if (error == ENOENT || error == ESRCH || error == EBADF || error == EPERM) return 0;
        return failure.set(name, std::to_string(key).c_str(), error);
    }
}

struct Account {
    uid_t uid;
    bool known = false;
    gid_t gid = 0;
    std::string name, home, shell, gecos;
    std::vector<gid_t> gids;
    std::vector<gid_t> asked;
    std::vector<std::pair<gid_t, std::string>> groups;
};

int look_up_groups(Account& account, Failure& failure) {
    std::vector<char> buffer;
    for (const gid_t gid : account.asked) {
        group entry = {};
        const int found = look_up(getgrgid_r, gid, entry, buffer, "getgrgid_r", failure);
        if (found < 0) return -1;
        if (found > 0) account.groups.emplace_back(gid, entry.gr_name);
    }
    return 0;
}

int look_up_account(Account& account, Failure& failure) {
    passwd entry = {};
    std::vector<char> buffer;
    const int found = look_up(getpwuid_r, account.uid, entry, buffer, "getpwuid_r", failure);
    if (found <= 0) return found;
    account.known = true;
    account.gid = entry.pw_gid;
    account.name = entry.pw_name;
    account.home = entry.pw_dir;
    account.shell = entry.pw_shell;
    account.gecos = entry.pw_gecos != nullptr ? entry.pw_gecos : "";
    int count = 64;
    account.gids.resize(static_cast<size_t>(count));
    while (getgrouplist(entry.pw_name, entry.pw_gid, account.gids.data(), &count) < 0)
        account.gids.resize(static_cast<size_t>(count));
    account.gids.resize(static_cast<size_t>(count));
    return look_up_groups(account, failure);
}

Napi::Value account_to_value(Napi::Env env, Account& account) {
    if (!account.known) return env.Undefined();
    Napi::Object value = Napi::Object::New(env);
    value.Set("name", account.name);
    value.Set("gid", static_cast<double>(account.gid));
    value.Set("home", account.home);
    value.Set("shell", account.shell);
    value.Set("gecos", account.gecos);
    Napi::Array gids = Napi::Array::New(env, account.gids.size());
    for (uint32_t i = 0; i < account.gids.size(); i++) gids.Set(i, static_cast<double>(account.gids[i]));
    value.Set("gids", gids);
    Napi::Array groups = Napi::Array::New(env, account.groups.size());
    for (uint32_t i = 0; i < account.groups.size(); i++) {
        Napi::Object group = Napi::Object::New(env);
        group.Set("gid", static_cast<double>(account.groups[i].first));
        group.Set("name", account.groups[i].second);
        groups.Set(i, group);
    }
    value.Set("groups", groups);
    return value;
}

Napi::Value account_binding(const Napi::CallbackInfo& info) {
    Account account;
    account.uid = static_cast<uid_t>(info[0].As<Napi::Number>().Uint32Value());
    const Napi::Array asked = info[1].As<Napi::Array>();
    for (uint32_t i = 0; i < asked.Length(); i++)
        account.asked.push_back(asked.Get(i).As<Napi::Number>().Uint32Value());
    return Task<Account>::run(info.Env(), std::move(account), look_up_account, account_to_value);
}

}  // namespace

void export_accounts(Napi::Env env, Napi::Object exports) {
    exports.Set("account", Napi::Function::New(env, account_binding));
}

}  // namespace berth::addon
