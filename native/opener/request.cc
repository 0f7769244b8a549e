#include "request.h"

#include <algorithm>
#include <cstdlib>

namespace berth::opener {
namespace {

/// A decimal number that fits an id, and what follows it. strtoul(3) alone would take signs and spaces.
bool take_id(const char*& text, uint32_t& id) {
    if (*text < '0' || *text > '9') return false;
    char* end;
    errno = 0;
    const unsigned long value = std::strtoul(text, &end, 10);
    if (errno != 0 || value >= UINT32_MAX) return false;
    id = static_cast<uint32_t>(value);
    text = end;
    return true;
}

bool take(const char*& text, char expected) {
    if (*text != expected) return false;
    text++;
    return true;
}

bool take_groups(const char*& text, std::vector<gid_t>& gids) {
    if (take(text, '\n')) return true;
    for (;;) {
        gid_t gid = 0;
        if (!take_id(text, gid)) return false;
        gids.push_back(gid);
        if (take(text, '\n')) return true;
        if (!take(text, ' ')) return false;
    }
}

}  // namespace

int parse_request(const std::string& packet, Request& request, Failure& failure) {
    const char* text = packet.c_str();
    const bool numbers = take_id(text, request.uid) && take(text, ' ') && take_id(text, request.gid) &&
                         take(text, '\n') && take_groups(text, request.gids);
    if (!numbers) return failure.set("parse", "the request", EINVAL);
    request.path = text;
    // A NUL within the packet would have cut the path short.
    const size_t parsed = static_cast<size_t>(text - packet.c_str()) + request.path.size();
    if (parsed != packet.size() || request.path[0] != '/') return failure.set("parse", "the path", EINVAL);
    return 0;
}

int parse_order(const std::string& packet, size_t count, Request& request, std::vector<std::string>& words,
                Sources& sources, Failure& failure) {
    const size_t end = std::min(packet.find('\0'), packet.size());
    if (parse_request(packet.substr(0, end), request, failure) < 0) return -1;
    for (size_t start = end; start < packet.size();) {
        const size_t next = std::min(packet.find('\0', start + 1), packet.size());
        const std::string word = packet.substr(start + 1, next - start - 1);
        start = next;
        if (words.size() < count) {
            words.push_back(word);
        } else {
            // An empty one would allow or deny something else than the site wrote.
            if (word.size() < 2 || word[1] != '/') return failure.set("parse", "a directory", EINVAL);
            if (word[0] != '+' && word[0] != '-') return failure.set("parse", "a directory", EINVAL);
            (word[0] == '+' ? sources.allowed : sources.denied).push_back(word.substr(1));
        }
    }
    return words.size() == count ? 0 : failure.set("parse", "the order", EINVAL);
}

}  // namespace berth::opener
