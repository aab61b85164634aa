/* The entry that libFuzzer calls with each input. What must hold is asserted, and the sanitizers
 * watch the rest. */
#ifndef TILLBOX_TESTS_FUZZ_FUZZ_H
#define TILLBOX_TESTS_FUZZ_FUZZ_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
