/* The row loops, compiled for AVX-512. */
#ifdef __AVX512F__
#define ROWS tr_rows_avx512
#include "backend/cpu/rows_kernels.h"
#else
typedef int rows_avx512_is_empty;
#endif
