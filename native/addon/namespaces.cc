#include <sys/stat.h>

#include "../sys/namespace.h"
#include "border.h"

namespace berth::addon {
namespace {

Napi::Value descriptor(Napi::Env env, Fd&& fd, const Failure& failure) {
    if (!fd) throw to_error(env, failure);
    return Napi::Number::New(env, fd.release());
}

Napi::Value open_namespace_binding(const Napi::CallbackInfo& info) {
    Failure failure;
    return descriptor(info.Env(),
                      open_namespace(integer(info, 0), integer(info, 1), text(info, 2).c_str(), failure),
                      failure);
}

Napi::Value owning_user_namespace_binding(const Napi::CallbackInfo& info) {
    Failure failure;
    return descriptor(info.Env(), owning_user_namespace(integer(info, 0), failure), failure);
}

Napi::Value namespace_id_binding(const Napi::CallbackInfo& info) {
    struct stat status = {};
    if (fstat(integer(info, 0), &status) < 0) {
        Failure failure;
        failure.set("fstat", "namespace");
        throw to_error(info.Env(), failure);
    }
    return Napi::Number::New(info.Env(), static_cast<double>(status.st_ino));
}

void write_id_maps_binding(const Napi::CallbackInfo& info) {
    Failure failure;
    const std::string uid_map = text(info, 2);
    const std::string gid_map = text(info, 3);
    const bool may_drop_groups = info[4].ToBoolean();
    if (write_id_maps(integer(info, 0), integer(info, 1), uid_map.c_str(), gid_map.c_str(), may_drop_groups,
                      failure) < 0)
        throw to_error(info.Env(), failure);
}

void pin_binding(const Napi::CallbackInfo& info) {
    Failure failure;
    if (pin(integer(info, 0), text(info, 1).c_str(), failure) < 0) throw to_error(info.Env(), failure);
}

void unpin_binding(const Napi::CallbackInfo& info) {
    Failure failure;
    if (unpin(text(info, 0).c_str(), failure) < 0) throw to_error(info.Env(), failure);
}

Napi::Value open_pin_binding(const Napi::CallbackInfo& info) {
    Failure failure;
    bool is_pin = false;
    Fd fd = open_pin(text(info, 0).c_str(), is_pin, failure);
    if (failure.error != 0) throw to_error(info.Env(), failure);
    if (!is_pin) return info.Env().Undefined();
    return Napi::Number::New(info.Env(), fd.release());
}

void prepare_pins_binding(const Napi::CallbackInfo& info) {
    Failure failure;
    if (prepare_pins(text(info, 0).c_str(), failure) < 0) throw to_error(info.Env(), failure);
}

}  // namespace

void export_namespaces(Napi::Env env, Napi::Object exports) {
    exports.Set("openNamespace", Napi::Function::New(env, open_namespace_binding));
    exports.Set("owningUserNamespace", Napi::Function::New(env, owning_user_namespace_binding));
    exports.Set("namespaceId", Napi::Function::New(env, namespace_id_binding));
    exports.Set("writeIdMaps", Napi::Function::New(env, write_id_maps_binding));
    exports.Set("pin", Napi::Function::New(env, pin_binding));
    exports.Set("unpin", Napi::Function::New(env, unpin_binding));
    exports.Set("openPin", Napi::Function::New(env, open_pin_binding));
    exports.Set("preparePins", Napi::Function::New(env, prepare_pins_binding));
}

}  // namespace berth::addon
