// The matrix product on the matrix units of compute capability 8.0 and later: mma.sync fed by a pipeline of
// asynchronous copies. The portable path; on 9.0 gemm_sm90.cu takes its place.
#include "gemm.cuh"

// A block computes BM x BN with WARPS_M x WARPS_N warps, 64 columns of k at a time.
template <typename T, int E, int BM, int BN, int WARPS_M, int WARPS_N, int STAGES>
__device__ __forceinline__ void gemm(const GemmArgs& g) {
  constexpr int kThreads = 32 * WARPS_M * WARPS_N, kStage = (BM + BN) * 128;
  constexpr int MT = BM / WARPS_M / 16, NT = BN / WARPS_N / 8;
  static_assert(NT % 2 == 0, "W is loaded 16 columns at a time");
  extern __shared__ __align__(1024) unsigned char memory[];
  const uint32_t base = shared_address(memory);
  const int thread = threadIdx.x, lane = thread & 31, warp = thread >> 5;
  const int wm = warp % WARPS_M, wn = warp / WARPS_M;
  const int tiles_n = g.n / BN, row0 = blockIdx.x / tiles_n * BM, col0 = blockIdx.x % tiles_n * BN;
  const int blocks = g.k / 64;

  dependency_release();
  dependency_wait();
  auto load = [&](int block) {
    if (block < blocks) {
      const uint32_t to = base + block % STAGES * kStage;
      for (int i = thread; i < BM * 8; i += kThreads) {
        const int r = i >> 3, c = i & 7, row = row0 + r;
        copy16(to + swizzled(r, c), element<T>(g.a, row < g.m ? row : 0, g.lda, block * 64 + c * 8), row < g.m);
      }
      for (int i = thread; i < BN * 8; i += kThreads) {
        const int r = i >> 3, c = i & 7;
        copy16(to + BM * 128 + swizzled(r, c), element<T>(g.w, col0 + r, g.k, block * 64 + c * 8), true);
      }
    }
    copy_commit();
  };
  for (int s = 0; s < STAGES - 1; s++) load(s);

  float acc[MT][NT * 4] = {};
  for (int block = 0; block < blocks; block++) {
    copy_wait<STAGES - 2>();
    __syncthreads();
    load(block + STAGES - 1);
    const uint32_t a0 = base + block % STAGES * kStage, w0 = a0 + BM * 128;
#pragma unroll
    for (int kk = 0; kk < 4; kk++) {
      uint32_t a[MT][4], w[NT / 2][4];
#pragma unroll
      for (int i = 0; i < MT; i++)
        load_matrix(a[i], a0 + swizzled(wm * MT * 16 + i * 16 + (lane & 15), kk * 2 + (lane >> 4)));
#pragma unroll
      for (int j = 0; j < NT / 2; j++)
        load_matrix(w[j], w0 + swizzled(wn * NT * 8 + j * 16 + (lane & 7) + (lane >> 4) * 8, kk * 2 + ((lane >> 3) & 1)));
#pragma unroll
      for (int i = 0; i < MT; i++)
#pragma unroll
        for (int j = 0; j < NT; j++) multiply16<T>(&acc[i][4 * j], a[i], w[j / 2][j % 2 * 2], w[j / 2][j % 2 * 2 + 1]);
    }
  }

#pragma unroll
  for (int i = 0; i < MT; i++) {
    const int row = row0 + (wm * MT + i) * 16, col = col0 + wn * NT * 8;
    RowNorm norm[2] = {};
    if (E != kResidual) {
      norm[0] = row_norm(g, row + (lane >> 2), lane & 3, 4);
      norm[1] = row_norm(g, row + (lane >> 2) + 8, lane & 3, 4);
    }
    epilogue<T, E, NT>(g, acc[i], row, col, col / (NT * 8), norm, g.bias + col, g.sums + col);
  }
}

#define GEMM(type, T, size, BM, BN, WM, WN, STAGES, name, E)                                                  \
  extern "C" __global__ void __launch_bounds__(32 * WM * WN) gemm_##type##_##size##_##name(const __grid_constant__ GemmArgs g) { \
    gemm<T, E, BM, BN, WM, WN, STAGES>(g);                                                                   \
  }
#define EPILOGUES(type, T, size, BM, BN, WM, WN, STAGES)                       \
  GEMM(type, T, size, BM, BN, WM, WN, STAGES, norm, kNorm)                     \
  GEMM(type, T, size, BM, BN, WM, WN, STAGES, norm_quickgelu, kNormQuickGelu)  \
  GEMM(type, T, size, BM, BN, WM, WN, STAGES, norm_gelu, kNormGelu)            \
  GEMM(type, T, size, BM, BN, WM, WN, STAGES, residual, kResidual)             \
  GEMM(type, T, size, BM, BN, WM, WN, STAGES, norm_float, kNormFloat)
EPILOGUES(f16, __half, 128x128, 128, 128, 2, 4, 3)
EPILOGUES(f16, __half, 64x64, 64, 64, 2, 2, 4)
EPILOGUES(bf16, __nv_bfloat16, 128x128, 128, 128, 2, 4, 3)
EPILOGUES(bf16, __nv_bfloat16, 64x64, 64, 64, 2, 2, 4)
