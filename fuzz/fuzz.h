/* fuzz.h - what the fuzz targets share. A target is one file with LLVMFuzzerTestOneInput; libFuzzer drives it (preset fuzz), or
 * replay.c does with the corpus and seeded mutations of it (make test). */
#ifndef TRESS_FUZZ_H
#define TRESS_FUZZ_H

#include "core/core.h"

#ifdef __cplusplus
extern "C" {
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A path under which these bytes can be opened until the next call; a file in memory where the system has such. */
const char *fuzz_file(const uint8_t *data, size_t n);
/* A folder of our own that lives as long as the process; a file of it. */
const char *fuzz_folder(void);
void fuzz_put(const char *name, const void *data, size_t n);
void fuzz_copy(const char *name, const char *from);     /* from a path under the source folder */

/* Anything but these is a finding. */
void fuzz_expect(tress_status st);                      /* OK, FORMAT, SHAPE, ARG, OOM */

#ifdef __cplusplus
}
#endif
#endif
