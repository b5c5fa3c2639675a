/* sdpa.h - attention by cuDNN, where it serves. Inside the CUDA back end; attention.cu asks here first. */
#ifndef TRESS_BACKEND_CUDA_SDPA_H
#define TRESS_BACKEND_CUDA_SDPA_H

#include "backend/cuda/cuda.h"

/* Attention over segments without bias, weights or mask (several are laid side by side first), q, k, v and o of one 16-bit type with 16-byte aligned rows, the head
 * width a multiple of 8 up to 128. *done: it was served; false (also without cuDNN 9.13.1): nothing has happened, the caller has to
 * do it. P is rounded to 16 bits before its product with v; lse is that of the rounded q and k. Fails: GPU, OOM. */
tress_status tr_cuda_sdpa(tr_cuda *c, const tr_attention_args *a, bool *done);

/* The same for the backward of one segment; lse and o may be those of a union. Serves where dq, dk and dv are all asked for, are of
 * the type of q, and replace what is there. Takes up to 192 MiB of room. */
tress_status tr_cuda_sdpa_back(tr_cuda *c, const tr_attention_back_args *a, bool *done);

#endif
