// Products in 16 bits whose result is stored as e4m3 too, for a product in fp8.
#include "gemm_sm90_fp8.cuh"

#define KERNELS(name, ...) SCALED(__half, name, residual_copy, kResidual, __VA_ARGS__)
INSTANCES_FP8(KERNELS)
