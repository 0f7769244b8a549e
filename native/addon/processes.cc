#include "../sys/process.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/file.h>
#include <unistd.h>

#include "../sys/socket.h"
#include "border.h"

namespace berth::addon {
namespace {

struct NewBuilder {
    std::string executable;
    Fd other;
    Fd ours;
    Child child;
};

int spawn_builder(NewBuilder& builder, Failure& failure) {
    Fd theirs;
    if (socket_pair(builder.ours, theirs, failure) < 0) return -1;
    const int descriptors[] = {theirs.get(), builder.other.get()};
    builder.child = spawn(builder.executable.c_str(), descriptors, builder.other ? 2 : 1, failure);
    return builder.child.pid < 0 ? -1 : 0;
}

Napi::Value builder_to_value(Napi::Env env, NewBuilder& builder) {
    Napi::Object value = Napi::Object::New(env);
    value.Set("pid", builder.child.pid);
    value.Set("pidfd", builder.child.pidfd.release());
    value.Set("socket", builder.ours.release());
    return value;
}

Napi::Value spawn_builder_binding(const Napi::CallbackInfo& info) {
    NewBuilder builder;
    builder.executable = text(info, 0);
    if (!info[1].IsUndefined()) {
        // Of our own: what we were given may be closed, and its number used again, before the thread gets to
        // it.
        builder.other = Fd(fcntl(integer(info, 1), F_DUPFD_CLOEXEC, 0));
        if (!builder.other) {
            Failure failure;
            failure.set("fcntl", "F_DUPFD_CLOEXEC");
            throw to_error(info.Env(), failure);
        }
    }
    return Task<NewBuilder>::run(info.Env(), std::move(builder), spawn_builder, builder_to_value);
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

Napi::Value has_ended_binding(const Napi::CallbackInfo& info) {
    Failure failure;
    const int ended = has_ended(integer(info, 0), failure);
    if (ended < 0) throw to_error(info.Env(), failure);
    return Napi::Boolean::New(info.Env(), ended == 1);
}

Napi::Value open_pidfd_binding(const Napi::CallbackInfo& info) {
    Failure failure;
    Fd pidfd = open_pidfd(integer(info, 0), failure);
    if (failure.error != 0) throw to_error(info.Env(), failure);
    if (!pidfd) return info.Env().Undefined();
    return Napi::Number::New(info.Env(), pidfd.release());
}

Napi::Value descriptor_of_binding(const Napi::CallbackInfo& info) {
    Failure failure;
    Fd duplicate = descriptor_of(integer(info, 0), integer(info, 1), failure);
    if (!duplicate) throw to_error(info.Env(), failure);
    return Napi::Number::New(info.Env(), duplicate.release());
}

Napi::Value duplicate_binding(const Napi::CallbackInfo& info) {
    Fd copy(fcntl(integer(info, 0), F_DUPFD_CLOEXEC, 0));
    if (!copy) {
        Failure failure;
        failure.set("fcntl", "F_DUPFD_CLOEXEC");
        throw to_error(info.Env(), failure);
    }
    return Napi::Number::New(info.Env(), copy.release());
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

// One arena per thread, glibc's way, keeps some of each thread's first pages for ever.
void share_arenas_binding(const Napi::CallbackInfo&) {
    mallopt(M_ARENA_MAX, 2);
}

void trim_memory_binding(const Napi::CallbackInfo&) {
    malloc_trim(0);
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
    exports.Set("hasEnded", Napi::Function::New(env, has_ended_binding));
    exports.Set("openPidfd", Napi::Function::New(env, open_pidfd_binding));
    exports.Set("descriptorOf", Napi::Function::New(env, descriptor_of_binding));
    exports.Set("duplicate", Napi::Function::New(env, duplicate_binding));
    exports.Set("pipeOf", Napi::Function::New(env, pipe_of_binding));
    exports.Set("lock", Napi::Function::New(env, lock_binding));
    exports.Set("shareArenas", Napi::Function::New(env, share_arenas_binding));
    exports.Set("trimMemory", Napi::Function::New(env, trim_memory_binding));
    exports.Set("close", Napi::Function::New(env, close_binding));
}

}  // namespace berth::addon
