// Products of e4m3 by e4m3.
#include "gemm_sm90_fp8.cuh"

#define KERNELS(name, ...)                                                \
  SCALED(E4M3, name, fp8_norm, kNorm, __VA_ARGS__)                        \
  SCALED(E4M3, name, fp8_norm_quickgelu, kNormQuickGelu, __VA_ARGS__)     \
  SCALED(E4M3, name, fp8_norm_gelu, kNormGelu, __VA_ARGS__)               \
  SCALED(E4M3, name, fp8_residual, kResidual, __VA_ARGS__)
INSTANCES_FP8(KERNELS)
