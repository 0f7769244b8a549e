#include "../sys/socket.h"

#include <vector>

#include "border.h"

namespace berth::addon {
namespace {

Napi::Value peer_credentials_binding(const Napi::CallbackInfo& info) {
    Failure failure;
    Peer peer;
    if (peer_of(integer(info, 0), peer, failure) < 0) throw to_error(info.Env(), failure);
    Napi::Object value = Napi::Object::New(info.Env());
    value.Set("pid", peer.pid);
    value.Set("uid", static_cast<double>(peer.uid));
    value.Set("gid", static_cast<double>(peer.gid));
    value.Set("pidfd", peer.pidfd.release());
    return value;
}

Napi::Value send_descriptors_binding(const Napi::CallbackInfo& info) {
    const int socket = integer(info, 0);
    if (!info[1].IsTypedArray() || !info[2].IsArray())
        throw Napi::TypeError::New(info.Env(), "bytes and an array of descriptors are wanted");
    const Napi::Uint8Array bytes = info[1].As<Napi::Uint8Array>();
    const Napi::Array list = info[2].As<Napi::Array>();
    std::vector<int> descriptors;
    for (uint32_t i = 0; i < list.Length(); i++) descriptors.push_back(integer(list.Get(i), "a descriptor"));
    Failure failure;
    const ssize_t sent = send_descriptors(socket, bytes.Data(), bytes.ByteLength(), descriptors.data(),
                                          static_cast<int>(descriptors.size()), failure);
    if (sent < 0) throw to_error(info.Env(), failure);
    return Napi::Number::New(info.Env(), static_cast<double>(sent));
}

void notify_binding(const Napi::CallbackInfo& info) {
    Failure failure;
    if (send_datagram(text(info, 0).c_str(), text(info, 1).c_str(), failure) < 0)
        throw to_error(info.Env(), failure);
}

}  // namespace

void export_sockets(Napi::Env env, Napi::Object exports) {
    exports.Set("peerCredentials", Napi::Function::New(env, peer_credentials_binding));
    exports.Set("sendDescriptors", Napi::Function::New(env, send_descriptors_binding));
    exports.Set("notify", Napi::Function::New(env, notify_binding));
}

}  // namespace berth::addon
