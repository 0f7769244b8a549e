#include <fcntl.h>
#include <sys/epoll.h>

#include <memory>
#include <mutex>
#include <thread>

#include "../sys/fd.h"
#include "border.h"

/// Tells when processes that are no children of ours end: a thread waits for all of them together, and only
/// the end of one wakes it.
namespace berth::addon {
namespace {

struct Awaited {
    Fd pidfd;
    Napi::ThreadSafeFunction tell;
    Napi::Promise::Deferred promise;
};

void resolve(Napi::Env env, Napi::Function, Awaited* awaited) {
    awaited->promise.Resolve(env.Undefined());
    delete awaited;
}

/// Owns every Awaited from its end on; before, the kernel has it.
void wait_for_endings(int epoll) {
    for (;;) {
        epoll_event event{};
        if (epoll_wait(epoll, &event, 1, -1) != 1) continue;
        auto* awaited = static_cast<Awaited*>(event.data.ptr);
        epoll_ctl(epoll, EPOLL_CTL_DEL, awaited->pidfd.get(), nullptr);
        // Once told, it may be gone: what tells is let go of here, by the thread that calls it.
        Napi::ThreadSafeFunction tell = awaited->tell;
        // Closing: nobody is there to be told any more.
        if (tell.BlockingCall(awaited, resolve) != napi_ok) delete awaited;
        tell.Release();
    }
}

/// The epoll instance that the thread waits for; empty, with a failure, where there can be none.
int endings(Failure& failure) {
    static std::mutex mutex;
    static int epoll = -1;
    const std::lock_guard<std::mutex> lock(mutex);
    if (epoll >= 0) return epoll;
    const int made = epoll_create1(EPOLL_CLOEXEC);
    if (made < 0) return failure.set("epoll_create1", "the ends of processes");
    std::thread(wait_for_endings, made).detach();
    epoll = made;
    return epoll;
}

Napi::Value when_ended_binding(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    Failure failure;
    const int epoll = endings(failure);
    if (epoll < 0) throw to_error(env, failure);
    // Of our own: what we were given may be closed meanwhile.
    Fd pidfd(fcntl(integer(info, 0), F_DUPFD_CLOEXEC, 0));
    if (!pidfd) {
        failure.set("fcntl", "F_DUPFD_CLOEXEC");
        throw to_error(env, failure);
    }
    auto nothing = Napi::Function::New(env, [](const Napi::CallbackInfo&) {});
    auto tell = Napi::ThreadSafeFunction::New(env, nothing, "the end of a process", 0, 1);
    // What waits here keeps no process running.
    tell.Unref(env);
    auto awaited =
        std::make_unique<Awaited>(Awaited{std::move(pidfd), tell, Napi::Promise::Deferred::New(env)});
    const Napi::Promise promise = awaited->promise.Promise();
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = awaited.get();
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, awaited->pidfd.get(), &event) < 0) {
        failure.set("epoll_ctl", "the pidfd of a process");
        awaited->tell.Release();
        throw to_error(env, failure);
    }
    static_cast<void>(awaited.release());
    return promise;
}

}  // namespace

void export_endings(Napi::Env env, Napi::Object exports) {
    exports.Set("whenEnded", Napi::Function::New(env, when_ended_binding));
}

}  // namespace berth::addon
