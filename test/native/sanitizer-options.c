/* Options of the builder's AddressSanitizer, which has no environment to read them from. Looking for leaks
 * needs to trace the process: nobody may trace a builder that has become its user. */
const char* __asan_default_options(void);

__attribute__((visibility("default"))) const char* __asan_default_options(void) {
    return "detect_leaks=0";
}
