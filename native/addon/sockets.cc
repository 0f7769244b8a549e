#include "../sys/socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include <string>
#include <utility>
#include <vector>

#include "border.h"

namespace berth::addon {
namespace {

/// Longest packet, in bytes.
constexpr size_t kPacketLimit = size_t{64} * 1024;

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

Napi::Value peer_groups_binding(const Napi::CallbackInfo& info) {
    const int socket = integer(info, 0);
    std::vector<gid_t> groups(64);
    socklen_t length = 0;
    // Longer lists say how long they are.
    for (;;) {
        length = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
        if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &length) == 0) break;
        if (errno == ERANGE && length > groups.size() * sizeof(gid_t)) {
            groups.resize(length / sizeof(gid_t));
            continue;
        }
        Failure failure;
        failure.set("getsockopt", "SO_PEERGROUPS");
        throw to_error(info.Env(), failure);
    }
    groups.resize(length / sizeof(gid_t));
    Napi::Array value = Napi::Array::New(info.Env());
    for (const gid_t gid : groups)
        value.Set(value.Length(), Napi::Number::New(info.Env(), static_cast<double>(gid)));
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

Napi::Value packet_pair_binding(const Napi::CallbackInfo& info) {
    Failure failure;
    Fd ours;
    Fd theirs;
    if (packet_pair(ours, theirs, failure) < 0) throw to_error(info.Env(), failure);
    Napi::Object value = Napi::Object::New(info.Env());
    value.Set("ours", ours.release());
    value.Set("theirs", theirs.release());
    return value;
}

Napi::Value pipe_binding(const Napi::CallbackInfo& info) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) {
        Failure failure;
        failure.set("pipe2", "a pipe");
        throw to_error(info.Env(), failure);
    }
    Napi::Object value = Napi::Object::New(info.Env());
    value.Set("readEnd", ends[0]);
    value.Set("writeEnd", ends[1]);
    return value;
}

void send_packet_binding(const Napi::CallbackInfo& info) {
    const int socket = integer(info, 0);
    // Unlike names for the kernel, it may hold a NUL.
    const std::string packet = info[1].As<Napi::String>().Utf8Value();
    Failure failure;
    if (send_packet(socket, packet.data(), packet.size(), failure) < 0) throw to_error(info.Env(), failure);
}

struct Packet {
    Fd socket;
    int timeout = 0;  // milliseconds; 0 is for ever
    std::string bytes;
    std::vector<Fd> descriptors;
};

Napi::Value receive_packet_binding(const Napi::CallbackInfo& info) {
    // A descriptor of its own: the caller may close theirs while this waits.
    Packet packet;
    packet.timeout = integer(info, 1);
    packet.socket.reset(fcntl(integer(info, 0), F_DUPFD_CLOEXEC, 0));
    if (!packet.socket) {
        Failure failure;
        failure.set("fcntl", "socket");
        throw to_error(info.Env(), failure);
    }
    return Wait<Packet>::run(
        info.Env(), std::move(packet),
        [](Packet& result, Failure& failure) {
            if (result.timeout > 0 && await_readable(result.socket.get(), result.timeout, failure) < 0)
                return -1;
            return receive_packet(result.socket.get(), kPacketLimit, result.bytes, result.descriptors,
                                  failure);
        },
        [](Napi::Env env, Packet& result) -> Napi::Value {
            Napi::Array descriptors = Napi::Array::New(env);
            for (Fd& descriptor : result.descriptors)
                descriptors.Set(descriptors.Length(), Napi::Number::New(env, descriptor.release()));
            Napi::Object value = Napi::Object::New(env);
            value.Set("text", Napi::String::New(env, result.bytes));
            value.Set("descriptors", descriptors);
            return value;
        });
}

struct Exchange {
    std::string path;
    std::string request;
    std::string reply;
    std::vector<Fd> descriptors;
};

/// Longest reply, in bytes: src/protocol/frames.ts.
constexpr size_t kReplyLimit = size_t{16} * 1024 * 1024;
/// How long each part of a reply may take, in seconds.
constexpr int kPatience = 30;

Napi::Value exchange_binding(const Napi::CallbackInfo& info) {
    if (!info[1].IsTypedArray()) throw Napi::TypeError::New(info.Env(), "bytes are wanted");
    const Napi::Uint8Array bytes = info[1].As<Napi::Uint8Array>();
    Exchange exchange;
    exchange.path = text(info, 0);
    exchange.request.assign(reinterpret_cast<const char*>(bytes.Data()), bytes.ByteLength());
    return Task<Exchange>::run(
        info.Env(), std::move(exchange),
        [](Exchange& result, Failure& failure) {
            return berth::exchange(result.path.c_str(), result.request, kReplyLimit, kPatience, result.reply,
                                   result.descriptors, failure);
        },
        [](Napi::Env env, Exchange& result) -> Napi::Value {
            Napi::Array descriptors = Napi::Array::New(env);
            for (Fd& descriptor : result.descriptors)
                descriptors.Set(descriptors.Length(), Napi::Number::New(env, descriptor.release()));
            Napi::Object value = Napi::Object::New(env);
            value.Set("reply", Napi::Buffer<char>::Copy(env, result.reply.data(), result.reply.size()));
            value.Set("descriptors", descriptors);
            return value;
        });
}

void notify_binding(const Napi::CallbackInfo& info) {
    Failure failure;
    if (send_datagram(text(info, 0).c_str(), text(info, 1).c_str(), failure) < 0)
        throw to_error(info.Env(), failure);
}

}  // namespace

void export_sockets(Napi::Env env, Napi::Object exports) {
    exports.Set("peerCredentials", Napi::Function::New(env, peer_credentials_binding));
    exports.Set("peerGroups", Napi::Function::New(env, peer_groups_binding));
    exports.Set("sendDescriptors", Napi::Function::New(env, send_descriptors_binding));
    exports.Set("packetPair", Napi::Function::New(env, packet_pair_binding));
    exports.Set("pipe", Napi::Function::New(env, pipe_binding));
    exports.Set("sendPacket", Napi::Function::New(env, send_packet_binding));
    exports.Set("receivePacket", Napi::Function::New(env, receive_packet_binding));
    exports.Set("exchange", Napi::Function::New(env, exchange_binding));
    exports.Set("notify", Napi::Function::New(env, notify_binding));
}

}  // namespace berth::addon
