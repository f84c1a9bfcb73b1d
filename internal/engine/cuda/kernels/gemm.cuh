// The matrix product out = epilogue(A W^T): what its variants share. A is [m, k], W is [n, k] as PyTorch
// stores a Linear, both with k contiguous.
//
// A LayerNorm before a Linear is folded into the product: with W' = W diag(gamma), s = W' 1 and
// b' = b + W beta,
//     LN(x) W^T + b = rstd (x W'^T) - rstd mean s + b',
// so the product reads x itself and the epilogue needs two numbers a row. They come as partial sums
// (sum x, sum x^2), written by the epilogue of the product before, one pair for each of its column tiles.
#pragma once
#include "common.cuh"

struct alignas(64) TensorMap { uint64_t opaque[16]; };

// GemmArgs is mirrored in Go (gemm.go): keep the order.
struct alignas(64) GemmArgs {
  TensorMap map_a, map_w;    // sm_90a only
  const void *a, *w;
  void* out;
  const void* residual;      // [m, n] or, with residual_rows, that many rows over and over
  const float *bias, *sums;  // [n]
  const float2* stats_in;    // [row][parts_in]
  float2* stats_out;         // [row][parts_out]
  int m, n, k;
  int lda, ldout, ldresidual;  // elements from one row to the next
  int residual_rows;           // 0: as many as m
  int stats_step;              // row r of A is row r * stats_step of stats_in
  int parts_in, parts_out;
  float inverse_width, epsilon;  // LayerNorm's; inverse_width is 1/k
  int reserved[4];
};
static_assert(sizeof(GemmArgs) == 384, "mirrored in Go");

enum Epilogue {
  kNorm,           // LayerNorm folded in, bias
  kNormQuickGelu,  // the same, then x sigmoid(1.702 x)
  kNormGelu,       // the same, then x Phi(x)
  kResidual,       // bias, plus residual, partial sums of the rows
  kNormFloat,      // as kNorm, float32 out
};

__device__ __forceinline__ float quick_gelu(float x) {
  return x * fast_reciprocal(1.0f + fast_exp2(-1.702f * 1.44269504f * x));
}

// gelu with erf by Abramowitz and Stegun 7.1.26: absolute error of erf under 1.5e-7.
__device__ __forceinline__ float gelu(float x) {
  const float z = fabsf(x) * 0.70710678f;
  const float t = fast_reciprocal(fmaf(0.3275911f, z, 1.0f));
  float p = fmaf(1.061405429f, t, -1.453152027f);
  p = fmaf(p, t, 1.421413741f);
  p = fmaf(p, t, -0.284496736f);
  p = fmaf(p, t, 0.254829592f) * t;
  const float tail = p * fast_exp2(-1.44269504f * z * z);  // 1 - erf(z)
  const float phi = x < 0 ? 0.5f * tail : 1.0f - 0.5f * tail;
  return x * phi;
}

template <int E> __device__ __forceinline__ float activate(float x) {
  if (E == kNormQuickGelu) return quick_gelu(x);
  if (E == kNormGelu) return gelu(x);
  return x;
}

// RowNorm is what LayerNorm does to a row: x -> scale x + shift.
struct RowNorm { float scale, shift; };

// row_norm adds up a row's partial sums; `lanes` adjacent lanes (a power of two) work together on one row,
// this one being the `lane`th.
__device__ __forceinline__ RowNorm row_norm(const GemmArgs& g, int row, int lane, int lanes) {
  float sum = 0, squares = 0;
  if (row < g.m) {
    const float2* p = g.stats_in + static_cast<size_t>(row) * g.stats_step * g.parts_in;
    if (g.parts_in % 2 == 0) {
#pragma unroll 8
      for (int i = lane; i < g.parts_in / 2; i += lanes) {
        const float4 v = reinterpret_cast<const float4*>(p)[i];
        sum += v.x + v.z;
        squares += v.y + v.w;
      }
    } else {
#pragma unroll 4
      for (int i = lane; i < g.parts_in; i += lanes) {
        const float2 v = p[i];
        sum += v.x;
        squares += v.y;
      }
    }
  }
  for (int d = 1; d < lanes; d <<= 1) {
    sum += __shfl_xor_sync(~0u, sum, d);
    squares += __shfl_xor_sync(~0u, squares, d);
  }
  const float mean = sum * g.inverse_width;
  const float variance = fmaxf(squares * g.inverse_width - mean * mean, 0.0f);
  const float scale = rsqrtf(variance + g.epsilon);
  return {scale, -scale * mean};
}

__device__ __forceinline__ int residual_row(const GemmArgs& g, int row) {
  return g.residual_rows ? row % g.residual_rows : row;
}

template <typename T> __device__ __forceinline__ T* element(const void* base, int row, int ld, int col) {
  return const_cast<T*>(static_cast<const T*>(base)) + static_cast<size_t>(row) * ld + col;
}

// finish takes two adjacent columns of a row through the epilogue.
template <int E> __device__ __forceinline__ float2 finish(float a, float b, float2 bias, float2 sums, RowNorm norm, float2 residual) {
  if (E == kResidual) return {a + bias.x + residual.x, b + bias.y + residual.y};
  return {activate<E>(fmaf(norm.scale, a, fmaf(norm.shift, sums.x, bias.x))),
          activate<E>(fmaf(norm.scale, b, fmaf(norm.shift, sums.y, bias.y)))};
}

// Residual holds what is to be added to 16 rows x 8*J columns, in the order of the fragments below: of each
// half, four tiles at a time as 16 bytes a lane (not yet transposed), the rest two columns a lane.
template <int J> struct Residual { uint32_t v[2][J]; };

template <typename T, int J>
__device__ __forceinline__ void load_residual(const GemmArgs& g, int row, int col, int group, int half, uint32_t* v) {
  const int lane = threadIdx.x & 31, t = lane & 3, r = row + (lane >> 2) + 8 * half;
  const bool real = r < g.m;
  const T* from = element<T>(g.residual, real ? residual_row(g, r) : 0, g.ldresidual, col);
  if (group < J / 4) {
    *reinterpret_cast<uint4*>(v) = real ? *reinterpret_cast<const uint4*>(from + 32 * group + 8 * t) : uint4{0, 0, 0, 0};
  } else {
#pragma unroll
    for (int j = 0; j < J % 4; j++) v[j] = real ? *reinterpret_cast<const uint32_t*>(from + 32 * group + 8 * j + 2 * t) : 0;
  }
}

template <typename T, int J>
__device__ __forceinline__ void load_residual(const GemmArgs& g, int row, int col, Residual<J>& to) {
#pragma unroll
  for (int half = 0; half < 2; half++)
#pragma unroll
    for (int group = 0; group < (J + 3) / 4; group++) load_residual<T, J>(g, row, col, group, half, &to.v[half][4 * group]);
}

// epilogue finishes 16 rows x 8*J columns that a warp holds as J fragments of 16 x 8 (d[4j], d[4j+1]: row
// lane/4; d[4j+2], d[4j+3]: eight rows further down). bias and sums begin at column col; part is the column
// tile's place in stats_out. The residual is loaded here unless `ready` has it.
template <typename T, int E, int J, bool READY = false>
__device__ __forceinline__ void epilogue(const GemmArgs& g, const float* d, int row, int col, int part, const RowNorm (&norm)[2],
                                         const float* bias, const float* sums, const Residual<J>* ready = nullptr) {
  const int lane = threadIdx.x & 31, t = lane & 3, r0 = row + (lane >> 2);
  float total[2] = {0, 0}, squares[2] = {0, 0};
#pragma unroll
  for (int group = 0; group < (J + 3) / 4; group++) {
    constexpr int kWhole = J / 4;
    const int tiles = group < kWhole ? 4 : J % 4;
    uint32_t old[2][4] = {}, out[2][4];
    if (E == kResidual) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        if (READY) {
#pragma unroll
          for (int j = 0; j < tiles; j++) old[half][j] = ready->v[half][4 * group + j];
        } else {
          load_residual<T, J>(g, row, col, group, half, old[half]);
        }
      }
      if (group < kWhole) {
        quad_transpose(old[0], t);
        quad_transpose(old[1], t);
      }
    }
#pragma unroll
    for (int j = 0; j < tiles; j++) {
      const int c = 32 * group + 8 * j + 2 * t;
      const float2 b = *reinterpret_cast<const float2*>(bias + c);
      const float2 s = E == kResidual ? float2{0, 0} : *reinterpret_cast<const float2*>(sums + c);
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const float* v = d + 4 * (4 * group + j) + 2 * half;
        const float2 y = finish<E>(v[0], v[1], b, s, norm[half], E == kResidual ? unpack2<T>(old[half][j]) : float2{0, 0});
        if (E == kResidual) {
          total[half] += y.x + y.y;
          squares[half] = fmaf(y.x, y.x, fmaf(y.y, y.y, squares[half]));
        }
        const int r = r0 + 8 * half;
        if (E == kNormFloat) {
          if (r < g.m) *reinterpret_cast<float2*>(element<float>(g.out, r, g.ldout, col + c)) = y;
        } else if (group < kWhole) {
          out[half][j] = pack2<T>(y.x, y.y);
        } else if (r < g.m) {
          *reinterpret_cast<uint32_t*>(element<T>(g.out, r, g.ldout, col + c)) = pack2<T>(y.x, y.y);
        }
      }
    }
    if (E != kNormFloat && group < kWhole) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        quad_transpose(out[half], t);
        const int r = r0 + 8 * half;
        if (r < g.m) *reinterpret_cast<uint4*>(element<T>(g.out, r, g.ldout, col + 32 * group + 8 * t)) = *reinterpret_cast<uint4*>(out[half]);
      }
    }
  }
  if (E == kResidual) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float a = total[half], b = squares[half];
      a += __shfl_xor_sync(~0u, a, 1);
      b += __shfl_xor_sync(~0u, b, 1);
      a += __shfl_xor_sync(~0u, a, 2);
      b += __shfl_xor_sync(~0u, b, 2);
      const int r = r0 + 8 * half;
      if (r < g.m && t == 0) g.stats_out[static_cast<size_t>(r) * g.parts_out + part] = {a, b};
    }
  }
}
