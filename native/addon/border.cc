#include "border.h"

#include <cstring>

namespace berth::addon {
namespace {

/// Node's names for what callers here tell apart; the rest go by number in the message.
std::string errno_name(int error) {
    const char* name = strerrorname_np(error);
    return name != nullptr ? name : "E" + std::to_string(error);
}

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
    export_files(env, exports);
    export_mounts(env, exports);
    export_namespaces(env, exports);
    export_processes(env, exports);
    export_sockets(env, exports);
    export_accounts(env, exports);
    export_endings(env, exports);
    return exports;
}

}  // namespace

Napi::Error to_error(Napi::Env env, const Failure& failure) {
    const std::string message =
        std::string(failure.call) + ": " + failure.object + ": " + strerrordesc_np(failure.error);
    Napi::Error error = Napi::Error::New(env, message);
    Napi::Object value = error.Value();
    value.Set("code", errno_name(failure.error));
    value.Set("errno", failure.error);
    value.Set("syscall", failure.call);
    value.Set("object", failure.object);
    return error;
}

int integer(const Napi::Value& value, const std::string& what) {
    // Int32Value() alone would make descriptor 0 of NaN and of 2^32.
    if (!value.IsNumber() || value.As<Napi::Number>().DoubleValue() != value.As<Napi::Number>().Int32Value())
        throw Napi::TypeError::New(value.Env(), what + " is not a 32-bit number");
    return value.As<Napi::Number>().Int32Value();
}

int integer(const Napi::CallbackInfo& info, size_t index) {
    return integer(info[index], "argument " + std::to_string(index));
}

std::string text(const Napi::CallbackInfo& info, size_t index) {
    const Napi::Value value = info[index];
    if (!value.IsString())
        throw Napi::TypeError::New(info.Env(), "argument " + std::to_string(index) + " is not a string");
    std::string result = value.As<Napi::String>().Utf8Value();
    if (result.find('\0') != std::string::npos)
        throw Napi::TypeError::New(info.Env(), "argument " + std::to_string(index) + " holds a NUL");
    return result;
}

}  // namespace berth::addon

Napi::Object initialise_addon(Napi::Env env, Napi::Object exports) {
    return berth::addon::initialise(env, exports);
}
NODE_API_MODULE(berth, initialise_addon)
