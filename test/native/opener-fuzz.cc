// Feeds the opener's reading of its request with what berthd would never send: random bytes, and valid
// requests with bytes changed, cut off, put in twice.
//   opener-fuzz SEED ROUNDS

#include <cstdlib>
#include <random>
#include <string>

#include "../../native/opener/request.h"

namespace {

using berth::Failure;
using berth::opener::parse_request;
using berth::opener::Request;

int check(bool holds, const char* what) {
    if (!holds) std::fprintf(stderr, "opener-fuzz: %s\n", what);
    return holds ? 0 : 1;
}

std::string format(const Request& request) {
    std::string text = std::to_string(request.uid) + " " + std::to_string(request.gid) + "\n";
    for (const gid_t gid : request.gids) text += std::to_string(gid) + " ";
    if (!request.gids.empty()) text.pop_back();
    return text + "\n" + request.path;
}

bool are_same(const Request& one, const Request& other) {
    return one.uid == other.uid && one.gid == other.gid && one.gids == other.gids && one.path == other.path;
}

int check_known() {
    Request request;
    Failure failure;
    int failures = check(parse_request("1000 100\n4 27 100\n/a b/\nc", request, failure) == 0, "a valid one");
    failures += check(request.uid == 1000 && request.gid == 100 && request.gids.size() == 3, "its numbers");
    failures += check(request.path == "/a b/\nc", "its path");
    Request without;
    failures += check(parse_request("0 0\n\n/x", without, failure) == 0 && without.gids.empty(), "no groups");
    const std::string with_nul("1 1\n\n/a\0b", 10);
    for (const std::string& invalid :
         {std::string(""), std::string("\n\n"), std::string("1 1\n\n"), std::string("1 1\n\nrelative"),
          std::string("-1 1\n\n/x"), std::string("+1 1\n\n/x"), std::string(" 1 1\n\n/x"),
          std::string("1 1\n1  2\n/x"), std::string("1 1\n1 \n/x"), std::string("1 1\n1,2\n/x"),
          std::string("4294967295 1\n\n/x"), std::string("18446744073709551617 1\n\n/x"),
          std::string("1\n1\n\n/x"), std::string("1 1\n1 2"), with_nul}) {
        Request ignored;
        Failure reason;
        failures +=
            check(parse_request(invalid, ignored, reason) < 0 && reason.error == EINVAL, invalid.c_str());
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
                bytes[at] = "0123456789 \n/-"[random() % 14];
                break;
            case 2:
                bytes.erase(at, length);
                break;
            case 3:
                bytes.insert(at, bytes.substr(at, length));
                break;
            default:
                bytes.insert(at, std::string(random() % 12 + 1, static_cast<char>('0' + random() % 10)));
        }
    }
    return bytes;
}

std::string noise(std::mt19937& random) {
    std::string bytes(random() % 300, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    return bytes;
}

/// What is understood means the same when it is written as berthd writes it.
int check_any(const std::string& bytes, bool& understood) {
    Request request;
    Failure failure;
    understood = parse_request(bytes, request, failure) == 0;
    if (!understood) return check(failure.error == EINVAL, "a failure without a reason");
    int failures = check(request.path[0] == '/' && request.path.find('\0') == std::string::npos, "a path");
    failures +=
        check(bytes.size() >= request.path.size() &&
                  bytes.compare(bytes.size() - request.path.size(), std::string::npos, request.path) == 0,
              "a path that is not the request's");
    Request again;
    failures += check(parse_request(format(request), again, failure) == 0 && are_same(request, again),
                      "another meaning when it is written anew");
    return failures;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 3) return 2;
    const std::string valid = "1000 100\n4 27 100 1000 65534\n/home/somebody/images/app one.sqsh";
    int failures = check_known();
    std::mt19937 random(static_cast<unsigned>(std::strtoul(argv[1], nullptr, 10)));
    const unsigned long rounds = std::strtoul(argv[2], nullptr, 10);
    unsigned long count = 0;
    for (unsigned long round = 0; round < rounds; round++) {
        bool understood = false;
        failures += check_any(round % 4 == 0 ? noise(random) : mutate(valid, random), understood);
        count += understood ? 1 : 0;
    }
    failures += check(count > rounds / 100 && count < rounds,
                      "too few requests that are understood, or that are not");
    std::printf("%lu requests, %lu of them understood, seed %s\n", rounds, count, argv[1]);
    return failures == 0 ? 0 : 1;
}
