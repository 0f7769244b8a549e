// Feeds the builder's decoding of its specification with frames that berthd would never send: random bytes,
// and valid specifications with bytes changed, cut off, put in twice.
//   spec-fuzz SEED ROUNDS

#include <arpa/inet.h>
#include <sys/socket.h>

#include <cstdlib>
#include <random>
#include <string>

#include "../../native/builder/spec.h"
#include "../../native/sys/fd.h"

namespace {

using berth::Failure;
using berth::Fd;
using berth::builder::Spec;

enum WireType { kVarint = 0, kBytes = 2 };

void put_varint(std::string& out, uint64_t value) {
    for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
    out.push_back(static_cast<char>(value));
}

void put_number(std::string& out, unsigned field, uint64_t value) {
    put_varint(out, field << 3 | kVarint);
    put_varint(out, value);
}

void put_bytes(std::string& out, unsigned field, const std::string& bytes) {
    put_varint(out, field << 3 | kBytes);
    put_varint(out, bytes.size());
    out += bytes;
}

/// A specification as berthd writes them (proto/berth.proto, BuildSpec).
std::string valid_specification() {
    std::string gids;
    for (unsigned gid = 1000; gid < 1020; gid++) put_varint(gids, gid);
    std::string mount;
    put_bytes(mount, 1, "/home/somebody");
    put_bytes(mount, 2, "/home/somebody");
    put_number(mount, 4, 1);
    std::string tmpfs;
    put_bytes(tmpfs, 2, "/scratch");
    put_number(tmpfs, 6, 1);
    put_number(tmpfs, 8, 1);
    put_number(tmpfs, 9, 1024);
    put_number(tmpfs, 10, 1);
    std::string writable;
    put_number(writable, 1, 2048);
    put_bytes(writable, 2, "/scratch/layer");
    std::string unshare;
    put_number(unshare, 1, 1);
    std::string file;
    put_bytes(file, 1, "/etc/passwd");
    put_bytes(file, 2, "somebody:x:1000:1000::/home/somebody:/bin/sh\n");
    put_number(file, 3, 1);
    std::string spec;
    put_number(spec, 1, 1);
    put_number(spec, 2, 1000);
    put_number(spec, 3, 1000);
    put_bytes(spec, 4, gids);
    put_bytes(spec, 5, "/run/berth/workspace");
    put_bytes(spec, 6, mount);
    put_bytes(spec, 6, mount);
    put_bytes(spec, 6, tmpfs);
    put_bytes(spec, 7, file);
    put_number(spec, 8, 1);
    put_bytes(spec, 9, writable);
    put_bytes(spec, 10, unshare);
    put_bytes(spec, 11, "/scratch");
    put_bytes(spec, 12, "/secret");
    put_bytes(spec, 12, "/secrets");
    put_bytes(spec, 13, "/opt/site");
    return spec;
}

int check(bool holds, const char* what) {
    if (!holds) std::fprintf(stderr, "spec-fuzz: %s\n", what);
    return holds ? 0 : 1;
}

/// Decodes one frame whose header announces `announced` bytes.
int receive(const std::string& bytes, uint32_t announced, Spec& spec, Failure& failure) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0) std::abort();
    const Fd ours(pair[0]);
    Fd theirs(pair[1]);
    const uint32_t header = htonl(announced);
    std::string frame(reinterpret_cast<const char*>(&header), sizeof header);
    frame += bytes;
    if (send(theirs.get(), frame.data(), frame.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(frame.size()))
        std::abort();
    theirs.reset();
    return receive_spec(ours.get(), spec, failure);
}

int check_valid(const std::string& valid) {
    Spec spec;
    Failure failure;
    int failures =
        check(receive(valid, static_cast<uint32_t>(valid.size()), spec, failure) == 0, "a valid one");
    failures += check(spec.user_namespace && spec.uid == 1000 && spec.gids.size() == 20, "its numbers");
    failures +=
        check(spec.mounts.size() == 3 && spec.mounts[1].destination == "/home/somebody", "its mounts");
    const berth::builder::Mount& tmpfs = spec.mounts.back();
    failures += check(tmpfs.kind == berth::builder::kTmpfs && tmpfs.size == 1024, "its tmpfs");
    failures += check(tmpfs.is_private && tmpfs.checked && !spec.mounts[0].checked, "how it is mounted");
    failures += check(spec.root && spec.unshare.network && !spec.unshare.ipc, "its namespaces");
    failures += check(spec.writable.wanted && spec.writable.size == 2048, "its writable layer");
    failures += check(spec.writable.directory == "/scratch/layer", "where that is");
    failures += check(spec.allowed_sources.size() == 1 && spec.denied_sources.size() == 2, "its policy");
    failures += check(spec.denied_destinations.size() == 1 && spec.is_checked(), "that it counts");
    failures += check(spec.files.size() == 1 && spec.files[0].content.size() == 45, "its files");
    return failures;
}

/// What has to fail, and with what.
int check_invalid(const std::string& valid) {
    struct Case {
        const char* what;
        std::string bytes;
        uint32_t announced;
        int error;
    };
    std::string long_workspace;
    put_bytes(long_workspace, 5, std::string(5000, 'w'));
    std::string long_mount;
    std::string mount;
    put_bytes(mount, 1, std::string(5000, 'm'));
    put_bytes(long_mount, 6, mount);
    std::string relative;
    put_bytes(relative, 12, "secret");
    std::string cut_short;
    put_bytes(cut_short, 12, std::string("/secret\0/x", 10));
    std::string descriptors;
    std::string descriptor;
    put_number(descriptor, 6, 2);
    for (int i = 0; i < 17; i++) put_bytes(descriptors, 6, descriptor);
    const auto size = static_cast<uint32_t>(valid.size());
    const Case cases[] = {
        {"a frame without an end", valid, size + 1, ECONNRESET},
        {"an empty connection", "", 1, ECONNRESET},
        {"a frame longer than any specification", "", 0xffffffff, EMSGSIZE},
        {"a specification cut off", valid.substr(0, size - 1), size - 1, EBADMSG},
        {"a workspace that is too long", long_workspace, static_cast<uint32_t>(long_workspace.size()),
         EBADMSG},
        {"a denied directory that is not absolute", relative, static_cast<uint32_t>(relative.size()),
         EBADMSG},
        {"a denied directory with a NUL", cut_short, static_cast<uint32_t>(cut_short.size()), EBADMSG},
        {"more detached mounts than come", descriptors, static_cast<uint32_t>(descriptors.size()), E2BIG},
        {"a mount source that is too long", long_mount, static_cast<uint32_t>(long_mount.size()), EBADMSG},
    };
    int failures = 0;
    for (const Case& each : cases) {
        Spec spec;
        Failure failure;
        const int result = receive(each.bytes, each.announced, spec, failure);
        failures += check(result < 0 && failure.error == each.error, each.what);
    }
    return failures;
}

std::string mutate(std::string bytes, std::mt19937& random) {
    for (unsigned change = random() % 4 + 1; change > 0 && !bytes.empty(); change--) {
        const size_t at = random() % bytes.size();
        const size_t length = random() % (bytes.size() - at) + 1;
        switch (random() % 5) {
            case 0:
                bytes[at] = static_cast<char>(random());
                break;
            case 1:
                bytes[at] = static_cast<char>(bytes[at] ^ (1 << random() % 8));
                break;
            case 2:
                bytes.erase(at, length);
                break;
            case 3:
                bytes.insert(at, bytes.substr(at, length));
                break;
            default:
                bytes.insert(at, std::string(random() % 12 + 1, static_cast<char>(0xff)));
        }
    }
    return bytes;
}

std::string noise(std::mt19937& random) {
    std::string bytes(random() % 300, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    return bytes;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) return 2;
    const std::string valid = valid_specification();
    int failures = check_valid(valid) + check_invalid(valid);
    std::mt19937 random(static_cast<unsigned>(std::strtoul(argv[1], nullptr, 10)));
    const unsigned long rounds = std::strtoul(argv[2], nullptr, 10);
    unsigned long decoded = 0;
    for (unsigned long round = 0; round < rounds; round++) {
        const std::string bytes = round % 4 == 0 ? noise(random) : mutate(valid, random);
        Spec spec;
        Failure failure;
        const int result = receive(bytes, static_cast<uint32_t>(bytes.size()), spec, failure);
        failures += check(result == 0 || failure.error != 0, "a failure without a reason");
        decoded += result == 0 ? 1 : 0;
    }
    failures +=
        check(decoded > rounds / 100 && decoded < rounds, "too few frames that decode, or that do not");
    std::printf("%lu frames, %lu of them decoded, seed %s\n", rounds, decoded, argv[1]);
    return failures == 0 ? 0 : 1;
}
