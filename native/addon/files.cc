#include "../sys/file.h"

#include <sys/mman.h>
#include <unistd.h>

#include "border.h"

namespace berth::addon {
namespace {

struct Content {
    std::string path;
    size_t limit;
    std::string bytes;
};

int read_content(Content& content, Failure& failure) {
    return read_file(content.path.c_str(), content.limit, content.bytes, failure);
}

Napi::Value content_to_value(Napi::Env env, Content& content) {
    return Napi::Buffer<char>::Copy(env, content.bytes.data(), content.bytes.size());
}

Napi::Value read_file_binding(const Napi::CallbackInfo& info) {
    Content content = {text(info, 0), static_cast<size_t>(integer(info, 1)), ""};
    return Task<Content>::run(info.Env(), std::move(content), read_content, content_to_value);
}

struct OpenedFile {
    std::string path;
    Fd fd;
    struct stat status = {};
};

int open_and_look(OpenedFile& file, Failure& failure) {
    file.fd = open_file(file.path.c_str(), file.status, failure);
    return file.fd ? 0 : -1;
}

Napi::Value opened_to_value(Napi::Env env, OpenedFile& file) {
    Napi::Object value = Napi::Object::New(env);
    value.Set("fd", file.fd.release());
    set_status(value, file.status);
    return value;
}

Napi::Value open_file_binding(const Napi::CallbackInfo& info) {
    OpenedFile file;
    file.path = text(info, 0);
    return Task<OpenedFile>::run(info.Env(), std::move(file), open_and_look, opened_to_value);
}

Napi::Value memory_file_binding(const Napi::CallbackInfo& info) {
    Failure failure;
    const auto size = static_cast<off_t>(info[0].As<Napi::Number>().Int64Value());
    Fd file(memfd_create("berth", MFD_CLOEXEC));
    if (!file)
        failure.set("memfd_create", "a file in memory");
    else if (ftruncate(file.get(), size) < 0)
        failure.set("ftruncate", "a file in memory");
    if (failure.error != 0) throw to_error(info.Env(), failure);
    return Napi::Number::New(info.Env(), file.release());
}

}  // namespace

void set_status(Napi::Object value, const struct stat& status) {
    value.Set("isRegular", S_ISREG(status.st_mode));
    value.Set("mode", static_cast<double>(status.st_mode & 07777));
    value.Set("uid", static_cast<double>(status.st_uid));
    value.Set("size", static_cast<double>(status.st_size));
}

void export_files(Napi::Env env, Napi::Object exports) {
    exports.Set("readFile", Napi::Function::New(env, read_file_binding));
    exports.Set("memoryFile", Napi::Function::New(env, memory_file_binding));
    exports.Set("openFile", Napi::Function::New(env, open_file_binding));
}

}  // namespace berth::addon
