#include "gemm_sm90.cuh"

INSTANCES(bf16, __nv_bfloat16)
