/* What a seccomp filter has to compare the architecture of a system call with. */
#pragma once

#include <linux/audit.h>

#if defined(__x86_64__)
#define NATIVE_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "the seccomp filters do not know this architecture"
#endif
