// The tiles of products around fp8, and what their kernels are called. The table is repeated in gemm.go.
#pragma once
#include "gemm_sm90.cuh"
#include "wgmma_e4m3.cuh"

#define SCALED(In, name, epilogue_name, E, GROUPS, BN, STAGES, DOWN, ACROSS, SPLIT, THREADS, MINIMUM, REGISTERS, TURNS)                   \
  extern "C" __global__ void __cluster_dims__(DOWN * ACROSS * SPLIT, 1, 1) __launch_bounds__(THREADS, MINIMUM)                             \
      gemm_f16_##name##_##epilogue_name(const __grid_constant__ ScaledArgs g) {                                                            \
    sm90::gemm<__half, E, GROUPS, BN, STAGES, DOWN, ACROSS, SPLIT, REGISTERS, TURNS, In, ScaledArgs>(g);                                   \
  }

// KERNELS(name, groups, columns, stages, down, across, split, threads, blocks, registers, turns)
#define INSTANCES_FP8(KERNELS)                            \
  KERNELS(1x32, 1, 32, 8, 1, 1, 1, 160, 2, 0, false)      \
  KERNELS(1x64, 1, 64, 6, 1, 1, 1, 160, 2, 0, false)      \
  KERNELS(1x96, 1, 96, 5, 1, 1, 1, 160, 2, 0, false)      \
  KERNELS(1x128, 1, 128, 4, 1, 1, 1, 160, 2, 0, false)    \
  KERNELS(1x192m2, 1, 192, 6, 2, 1, 1, 160, 1, 0, false)  \
  KERNELS(2x128, 2, 128, 3, 1, 1, 1, 320, 2, 0, false)    \
  KERNELS(2x128m2, 2, 128, 3, 2, 1, 1, 320, 2, 0, false)  \
  KERNELS(2x192m2, 2, 192, 5, 2, 1, 1, 384, 1, 232, false) \
  KERNELS(t128m2, 2, 128, 6, 2, 1, 1, 384, 1, 232, true)  \
  KERNELS(2x256m2, 2, 256, 4, 2, 1, 1, 384, 1, 232, false) \
  KERNELS(1x64k2, 1, 64, 6, 1, 1, 2, 160, 2, 0, false)    \
  KERNELS(1x32k4, 1, 32, 8, 1, 1, 4, 160, 2, 0, false)
