// The matrix product in float32 on the ordinary units: the reference precision, plain on purpose.
#include "gemm.cuh"

__device__ __forceinline__ float precise(int e, float x) {
  if (e == kNormQuickGelu) return x / (1.0f + expf(-1.702f * x));
  if (e == kNormGelu) return 0.5f * x * (1.0f + erff(x * 0.70710678f));
  return x;
}

// A block of 256 threads computes 64 x 64; a thread computes rows ty*4.. and columns tx, tx+16, ...
template <int E> __device__ __forceinline__ void gemm(const GemmArgs& g) {
  __shared__ float a[16][65], w[16][65];
  const int tx = threadIdx.x & 15, ty = threadIdx.x >> 4;
  const int tiles_n = g.n / 64, row0 = blockIdx.x / tiles_n * 64, col0 = blockIdx.x % tiles_n * 64;
  float acc[4][4] = {};
  dependency_wait();
  for (int k0 = 0; k0 < g.k; k0 += 16) {
    for (int i = threadIdx.x; i < 64 * 16; i += 256) {
      const int r = i >> 4, c = i & 15;
      a[c][r] = row0 + r < g.m ? *element<float>(g.a, row0 + r, g.lda, k0 + c) : 0.0f;
      w[c][r] = *element<float>(g.w, col0 + r, g.k, k0 + c);
    }
    __syncthreads();
#pragma unroll
    for (int c = 0; c < 16; c++)
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) acc[i][j] = fmaf(a[c][ty * 4 + i], w[c][tx + 16 * j], acc[i][j]);
    __syncthreads();
  }
  for (int i = 0; i < 4; i++) {
    const int row = row0 + ty * 4 + i;
    const RowNorm norm = E == kResidual ? RowNorm{} : row_norm(g, row, tx, 16);
    float sum = 0, squares = 0;
    for (int j = 0; j < 4; j++) {
      const int col = col0 + tx + 16 * j;
      float y;
      if (E == kResidual) {
        y = acc[i][j] + g.bias[col] + (row < g.m ? *element<float>(g.residual, residual_row(g, row), g.ldresidual, col) : 0.0f);
        sum += y;
        squares = fmaf(y, y, squares);
      } else {
        y = precise(E, fmaf(norm.scale, acc[i][j], fmaf(norm.shift, g.sums[col], g.bias[col])));
      }
      if (row < g.m) *element<float>(g.out, row, g.ldout, col) = y;
    }
    if (E == kResidual) {
      for (int d = 1; d < 16; d <<= 1) {
        sum += __shfl_xor_sync(~0u, sum, d);
        squares += __shfl_xor_sync(~0u, squares, d);
      }
      if (row < g.m && tx == 0) g.stats_out[static_cast<size_t>(row) * g.parts_out + blockIdx.x % tiles_n] = {sum, squares};
    }
  }
}

#define GEMM(name, E) \
  extern "C" __global__ void __launch_bounds__(256) gemm_f32_64x64_##name(const __grid_constant__ GemmArgs g) { gemm<E>(g); }
GEMM(norm, kNorm)
GEMM(norm_quickgelu, kNormQuickGelu)
GEMM(norm_gelu, kNormGelu)
GEMM(residual, kResidual)
GEMM(norm_float, kNormFloat)
