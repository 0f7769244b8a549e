#include "spec.h"

#include <arpa/inet.h>
#include <pb_encode.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

namespace berth::builder {
namespace {

// A specification is a few mounts and the caller's passwd and group entries.
constexpr size_t kMostSpecBytes = size_t{4} << 20;

int read_whole(int socket, void* bytes, size_t length, Failure& failure) {
    auto* at = static_cast<char*>(bytes);
    while (length > 0) {
        const ssize_t got = read(socket, at, length);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return failure.set("read", "berthd");
        if (got == 0) return failure.set("read", "berthd is gone", ECONNRESET);
        at += got;
        length -= static_cast<size_t>(got);
    }
    return 0;
}

bool decode_bytes(pb_istream_t* stream, std::string& text) {
    text.resize(stream->bytes_left);
    return pb_read(stream, reinterpret_cast<pb_byte_t*>(text.data()), text.size());
}

bool decode_gid(pb_istream_t* stream, const pb_field_t* /*field*/, void** argument) {
    uint32_t gid = 0;
    while (stream->bytes_left > 0) {
        if (!pb_decode_varint32(stream, &gid)) return false;
        static_cast<Spec*>(*argument)->gids.push_back(gid);
    }
    return true;
}

/// What came for an enumeration: possibly none of its values, which C++ does not let an enumeration hold.
template <typename Enumeration>
unsigned number_of(const Enumeration& value) {
    unsigned number = 0;
    static_assert(sizeof value == sizeof number);
    memcpy(&number, &value, sizeof number);
    return number;
}

bool decode_mount(pb_istream_t* stream, const pb_field_t* /*field*/, void** argument) {
    static berth_v1_BuildMount message;
    message = berth_v1_BuildMount_init_zero;
    if (!pb_decode(stream, berth_v1_BuildMount_fields, &message)) return false;
    if (number_of(message.kind) > kDescriptor) PB_RETURN_ERROR(stream, "a kind of mount that is none");
    Mount mount;
    mount.kind = message.kind;
    mount.source = message.source;
    mount.destination = message.destination;
    mount.read_only = message.read_only;
    mount.optional = message.optional;
    mount.devices = message.devices;
    mount.shallow = message.shallow;
    mount.is_private = number_of(message.propagation) == berth_v1_BuildMount_Propagation_PROPAGATION_PRIVATE;
    mount.checked = message.checked;
    mount.size = message.size;
    static_cast<Spec*>(*argument)->mounts.push_back(std::move(mount));
    return true;
}

bool decode_directory(pb_istream_t* stream, const pb_field_t* /*field*/, void** argument) {
    std::string directory;
    if (!decode_bytes(stream, directory)) return false;
    // An empty one, or one cut short by a NUL, would allow or deny something else than the site wrote.
    if (directory.empty() || directory[0] != '/' || directory.find('\0') != std::string::npos)
        PB_RETURN_ERROR(stream, "a directory of the site's that is no absolute path");
    static_cast<std::vector<std::string>*>(*argument)->push_back(std::move(directory));
    return true;
}

void expect_directories(pb_callback_t& field, std::vector<std::string>& directories) {
    field.funcs.decode = decode_directory;
    field.arg = &directories;
}

bool decode_content(pb_istream_t* stream, const pb_field_t* /*field*/, void** argument) {
    return decode_bytes(stream, *static_cast<std::string*>(*argument));
}

bool decode_file(pb_istream_t* stream, const pb_field_t* /*field*/, void** argument) {
    File file;
    static berth_v1_BuildFile message;
    message = berth_v1_BuildFile_init_zero;
    message.content.funcs.decode = decode_content;
    message.content.arg = &file.content;
    if (!pb_decode(stream, berth_v1_BuildFile_fields, &message)) return false;
    file.path = message.path;
    file.append_image = message.append_image;
    file.replace = message.replace;
    file.target = message.target;
    if (message.mode != 0) file.mode = message.mode & 07777;
    static_cast<Spec*>(*argument)->files.push_back(std::move(file));
    return true;
}

}  // namespace

size_t Spec::descriptor_count() const {
    size_t count = 0;
    for (const Mount& mount : mounts) count += mount.kind == kDescriptor ? 1 : 0;
    return count;
}

bool Spec::is_checked() const {
    if (!writable.directory.empty()) return true;
    for (const Mount& mount : mounts) {
        if (mount.checked) return true;
    }
    return false;
}

int receive_spec(int socket, Spec& spec, Failure& failure) {
    uint32_t length = 0;
    if (read_whole(socket, &length, sizeof length, failure) < 0) return -1;
    length = ntohl(length);
    if (length > kMostSpecBytes) return failure.set("read", "specification", EMSGSIZE);
    std::string bytes(length, '\0');
    if (read_whole(socket, bytes.data(), length, failure) < 0) return -1;

    static berth_v1_BuildSpec message = berth_v1_BuildSpec_init_zero;
    message.gids.funcs.decode = decode_gid;
    message.mounts.funcs.decode = decode_mount;
    message.files.funcs.decode = decode_file;
    message.gids.arg = message.mounts.arg = message.files.arg = &spec;
    expect_directories(message.allowed_sources, spec.allowed_sources);
    expect_directories(message.denied_sources, spec.denied_sources);
    expect_directories(message.denied_destinations, spec.denied_destinations);
    pb_istream_t stream = pb_istream_from_buffer(reinterpret_cast<const pb_byte_t*>(bytes.data()), length);
    if (!pb_decode(&stream, berth_v1_BuildSpec_fields, &message))
        return failure.set("pb_decode", PB_GET_ERROR(&stream), EBADMSG);
    spec.user_namespace = message.user_namespace;
    spec.fuse = message.fuse;
    spec.uid = message.uid;
    spec.gid = message.gid;
    spec.workspace = message.workspace;
    spec.root = message.root;
    spec.pretend = message.pretend;
    spec.writable = {message.has_writable, message.writable.size, message.writable.directory};
    spec.unshare = {message.unshare.network, message.unshare.ipc, message.unshare.hostname};
    if (spec.descriptor_count() > kMostDescriptors)
        return failure.set("read", "more detached mounts than can be sent", E2BIG);
    return 0;
}

int send_event(int socket, const berth_v1_BuildEvent& event, Failure& failure) {
    static uint8_t bytes[sizeof(uint32_t) + berth_v1_BuildEvent_size];
    pb_ostream_t stream = pb_ostream_from_buffer(bytes + sizeof(uint32_t), berth_v1_BuildEvent_size);
    if (!pb_encode(&stream, berth_v1_BuildEvent_fields, &event))
        return failure.set("pb_encode", PB_GET_ERROR(&stream), EBADMSG);
    const uint32_t length = htonl(static_cast<uint32_t>(stream.bytes_written));
    memcpy(bytes, &length, sizeof length);
    const size_t size = sizeof length + stream.bytes_written;
    if (send(socket, bytes, size, MSG_NOSIGNAL) != static_cast<ssize_t>(size))
        return failure.set("send", "berthd");
    return 0;
}

int receive_mounts(int socket, size_t count, std::vector<Fd>& mounts, Failure& failure) {
    char byte;
    iovec part = {&byte, sizeof byte};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMostDescriptors)] = {};
    msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    ssize_t got;
    do {
        got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    if (got < 0) return failure.set("recvmsg", "berthd");
    if (got == 0) return failure.set("recvmsg", "berthd is gone", ECONNRESET);
    const cmsghdr* header = CMSG_FIRSTHDR(&message);
    if (header != nullptr && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
        const size_t sent = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < sent; i++) {
            int descriptor;
            memcpy(&descriptor, CMSG_DATA(header) + i * sizeof descriptor, sizeof descriptor);
            mounts.emplace_back(descriptor);
        }
    }
    if (mounts.size() != count) return failure.set("recvmsg", "the detached mounts", EBADMSG);
    return 0;
}

int await_answer(int socket, Failure& failure) {
    char answer;
    return read_whole(socket, &answer, sizeof answer, failure);
}

}  // namespace berth::builder
