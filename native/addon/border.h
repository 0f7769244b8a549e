#pragma once

#include <napi.h>
#include <sys/stat.h>

#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "../sys/failure.h"

/// Where JavaScript's values become C++'s and failures become exceptions.
namespace berth::addon {

/// A failure as the NativeError of native.d.ts.
Napi::Error to_error(Napi::Env env, const Failure& failure);

/// A promise settled by work on the thread pool. `work` runs there and fills in a result or a failure;
/// `convert` makes the JavaScript value of the result, back on the main thread.
template <typename Result>
class Task : public Napi::AsyncWorker {
  public:
    using Work = int (*)(Result& result, Failure& failure);
    using Convert = Napi::Value (*)(Napi::Env env, Result& result);

    Task(Napi::Env env, Result&& input, Work work, Convert convert)
        : Napi::AsyncWorker(env),
          promise_(Napi::Promise::Deferred::New(env)),
          result_(std::move(input)),
          work_(work),
          convert_(convert) {}

    static Napi::Promise run(Napi::Env env, Result&& input, Work work, Convert convert) {
        auto* task = new Task(env, std::move(input), work, convert);  // deletes itself when it is done
        Napi::Promise promise = task->promise_.Promise();
        task->Queue();
        return promise;
    }

  protected:
    void Execute() override { failed_ = work_(result_, failure_) < 0; }
    void OnOK() override {
        if (failed_) {
            promise_.Reject(to_error(Env(), failure_).Value());
        } else {
            promise_.Resolve(convert_(Env(), result_));
        }
    }

  private:
    Napi::Promise::Deferred promise_;
    Result result_;
    Work work_;
    Convert convert_;
    Failure failure_;
    bool failed_ = false;
};

/// As {@link Task}, on a thread of its own: for what waits for another process, which a user may hold up. As
/// many such waits as the pool has threads would keep all others from their work.
template <typename Result>
class Wait {
  public:
    using Work = int (*)(Result& result, Failure& failure);
    using Convert = Napi::Value (*)(Napi::Env env, Result& result);

    static Napi::Promise run(Napi::Env env, Result&& input, Work work, Convert convert) {
        auto waiting = std::make_unique<Wait>(env, std::move(input), work, convert);
        const Napi::Promise promise = waiting->promise_.Promise();
        waiting->settling_ = Settling::New(env, "berth", 0, 1);
        Settling settling = waiting->settling_;
        try {
            std::thread(&Wait::execute, waiting.get()).detach();
            static_cast<void>(waiting.release());  // settle() deletes it
        } catch (const std::system_error& error) {
            settling.Release();
            waiting->failure_.set("pthread_create", "a thread", error.code().value());
            waiting->promise_.Reject(to_error(env, waiting->failure_).Value());
        }
        return promise;
    }

    Wait(Napi::Env env, Result&& input, Work work, Convert convert)
        : promise_(Napi::Promise::Deferred::New(env)),
          result_(std::move(input)),
          work_(work),
          convert_(convert) {}

  private:
    static void settle(Napi::Env env, Napi::Function /*none*/, std::nullptr_t* /*none*/, Wait* settled) {
        const std::unique_ptr<Wait> waiting(settled);
        if (env == nullptr) return;  // JavaScript is at its end
        if (waiting->failed_)
            waiting->promise_.Reject(to_error(env, waiting->failure_).Value());
        else
            waiting->promise_.Resolve(waiting->convert_(env, waiting->result_));
    }

    using Settling = Napi::TypedThreadSafeFunction<std::nullptr_t, Wait, settle>;

    void execute() {
        failed_ = work_(result_, failure_) < 0;
        Settling settling = settling_;
        // From here on it may be gone.
        settling.BlockingCall(this);
        settling.Release();
    }

    Napi::Promise::Deferred promise_;
    Result result_;
    Work work_;
    Convert convert_;
    Settling settling_;
    Failure failure_;
    bool failed_ = false;
};

/// The argument as a descriptor, pid or other 32-bit number; throws a TypeError otherwise.
int integer(const Napi::CallbackInfo& info, size_t index);
int integer(const Napi::Value& value, const std::string& what);
std::string text(const Napi::CallbackInfo& info, size_t index);

/// The members of FileStatus.
void set_status(Napi::Object value, const struct stat& status);

void export_files(Napi::Env env, Napi::Object exports);
void export_mounts(Napi::Env env, Napi::Object exports);
void export_namespaces(Napi::Env env, Napi::Object exports);
void export_processes(Napi::Env env, Napi::Object exports);
void export_sockets(Napi::Env env, Napi::Object exports);
void export_accounts(Napi::Env env, Napi::Object exports);
void export_endings(Napi::Env env, Napi::Object exports);

}  // namespace berth::addon
