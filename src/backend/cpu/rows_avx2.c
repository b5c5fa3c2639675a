/* The row loops, compiled for AVX2. */
#ifdef __AVX2__
#define ROWS tr_rows_avx2
#include "backend/cpu/rows_kernels.h"
#else
typedef int rows_avx2_is_empty;
#endif
