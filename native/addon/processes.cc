#include "../sys/process.h"

#include <sys/file.h>
#include <unistd.h>

#include "../sys/socket.h"
#include "border.h"

namespace berth::addon {
namespace {

Napi::Value spawn_builder_binding(const Napi::CallbackInfo& info) {
    Failure failure;
    Fd ours;
    Fd theirs;
    if (socket_pair(ours, theirs, failure) < 0) throw to_error(info.Env(), failure);
    const int descriptors[] = {theirs.get(), integer(info, 1), integer(info, 2)};
    Child child = spawn(text(info, 0).c_str(), descriptors, 3, failure);
    if (child.pid < 0) throw to_error(info.Env(), failure);
    Napi::Object value = Napi::Object::New(info.Env());
    value.Set("pid", child.pid);
    value.Set("pidfd", child.pidfd.release());
    value.Set("socket", ours.release());
    return value;
}

Napi::Value reap_binding(const Napi::CallbackInfo& info) {
    Failure failure;
    const int reaped = reap(integer(info, 0), failure);
    if (reaped < 0) throw to_error(info.Env(), failure);
    return Napi::Boolean::New(info.Env(), reaped == 1);
}

Napi::Value is_alive_binding(const Napi::CallbackInfo& info) {
    Failure failure;
    const int alive = send_signal(integer(info, 0), 0, failure);
    if (alive < 0) throw to_error(info.Env(), failure);
    return Napi::Boolean::New(info.Env(), alive == 1);
}

void signal_binding(const Napi::CallbackInfo& info) {
    Failure failure;
    if (send_signal(integer(info, 0), integer(info, 1), failure) < 0) throw to_error(info.Env(), failure);
}

Napi::Value pipe_of_binding(const Napi::CallbackInfo& info) {
    Failure failure;
    const uid_t owner = static_cast<uid_t>(info[3].As<Napi::Number>().Uint32Value());
    Fd pipe = pipe_of(integer(info, 0), integer(info, 1), integer(info, 2), owner, failure);
    if (!pipe) throw to_error(info.Env(), failure);
    return Napi::Number::New(info.Env(), pipe.release());
}

Napi::Value lock_binding(const Napi::CallbackInfo& info) {
    if (flock(integer(info, 0), LOCK_EX | LOCK_NB) == 0) return Napi::Boolean::New(info.Env(), true);
    if (errno == EWOULDBLOCK) return Napi::Boolean::New(info.Env(), false);
    Failure failure;
    failure.set("flock", "lock file");
    throw to_error(info.Env(), failure);
}

void close_binding(const Napi::CallbackInfo& info) {
    if (close(integer(info, 0)) < 0) {
        Failure failure;
        failure.set("close", "descriptor");
        throw to_error(info.Env(), failure);
    }
}

}  // namespace

void export_processes(Napi::Env env, Napi::Object exports) {
    exports.Set("spawnBuilder", Napi::Function::New(env, spawn_builder_binding));
    exports.Set("reap", Napi::Function::New(env, reap_binding));
    exports.Set("isAlive", Napi::Function::New(env, is_alive_binding));
    exports.Set("signal", Napi::Function::New(env, signal_binding));
    exports.Set("pipeOf", Napi::Function::New(env, pipe_of_binding));
    exports.Set("lock", Napi::Function::New(env, lock_binding));
    exports.Set("close", Napi::Function::New(env, close_binding));
}

}  // namespace berth::addon
