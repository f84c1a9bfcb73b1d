#include "gemm_sm90.cuh"

INSTANCES(f16, __half)
