// Products around fp8 (E4M3, Hopper): the epilogue of a product whose operands are e4m3, and of one whose
// result the next product reads as e4m3. engine/fp8 states the numbers: x ~ s q(x), W[n] ~ t[n] q(W[n]), so
// a sum of q(x) q(W[n]) counts s t[n] times (scales), and what is stored as e4m3 is stored times out_scale.
#pragma once
#include "gemm.cuh"

struct E4M3 { uint8_t bits; };

// ScaledArgs is mirrored in Go (launch.go): keep the order.
struct alignas(64) ScaledArgs : GemmArgs {
  const float* scales;  // [n] where the operands are e4m3
  void* copy;           // kResidual: the result once more, as e4m3, or null
  float out_scale;      // of what is stored as e4m3
  int ldcopy;
  int reserved2[10];
};
static_assert(sizeof(ScaledArgs) == 448, "mirrored in Go");

// Side is what the epilogue of a tile needs besides the product.
template <int ROWS, int BN, bool SCALED> struct Side {
  RowNorm norm[ROWS];
  float bias[BN], sums[BN];
};
template <int ROWS, int BN> struct Side<ROWS, BN, true> {
  RowNorm norm[ROWS];
  float bias[BN], sums[BN], scales[BN];
};

// pack_e4m3: two numbers as e4m3, a in the lower byte. What is larger than 448 becomes 448.
__device__ __forceinline__ uint32_t pack_e4m3(float a, float b) {
#if __CUDA_ARCH__ >= 890
  uint16_t v;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(v) : "f"(b), "f"(a));
  return v;
#else
  return 0;
#endif
}

// store_e4m3 stores four tiles of 16 rows x 8 columns. packed[j] holds a lane's two columns of tile j: of row
// lane/4 in the lower half, of the one eight rows further down in the upper half.
__device__ __forceinline__ void store_e4m3(void* out, int ld, int m, int row, int col, uint32_t (&packed)[4], int t) {
  quad_transpose(packed, t);
  unsigned char* to = static_cast<unsigned char*>(out) + static_cast<size_t>(row) * ld + col + 8 * t;
  if (row < m) *reinterpret_cast<uint2*>(to) = {__byte_perm(packed[0], packed[1], 0x5410), __byte_perm(packed[2], packed[3], 0x5410)};
  if (row + 8 < m)
    *reinterpret_cast<uint2*>(to + 8 * static_cast<size_t>(ld)) = {__byte_perm(packed[0], packed[1], 0x7632), __byte_perm(packed[2], packed[3], 0x7632)};
}

// scaled_epilogue is epilogue (gemm.cuh) with what fp8 adds. kNorm and kResidual store T; with activations the
// result is e4m3, and with kResidual a copy of it where one is asked for.
template <bool SCALED, typename T, int E, int J, bool READY, int ROWS, int BN>
__device__ __forceinline__ void scaled_epilogue(const ScaledArgs& g, const float* d, int row, int col, int part, const RowNorm (&norm)[2],
                                                const Side<ROWS, BN, SCALED>& side, const Residual<J>* ready) {
  static_assert(J % 4 == 0, "tiles of 32 columns");
  constexpr bool kActivated = E == kNormQuickGelu || E == kNormGelu;
  const int lane = threadIdx.x & 31, t = lane & 3, r0 = row + (lane >> 2);
  const bool copies = E == kResidual && g.copy != nullptr;
  float total[2] = {0, 0}, squares[2] = {0, 0};
#pragma unroll
  for (int group = 0; group < J / 4; group++) {
    uint32_t old[2][4] = {}, out[2][4], packed[4] = {};
    if (E == kResidual) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        if (READY) {
#pragma unroll
          for (int j = 0; j < 4; j++) old[half][j] = ready->v[half][4 * group + j];
        } else {
          load_residual<T, J>(g, row, col, group, half, old[half]);
        }
        quad_transpose(old[half], t);
      }
    }
#pragma unroll
    for (int j = 0; j < 4; j++) {
      const int c = 32 * group + 8 * j + 2 * t;
      const float2 b = *reinterpret_cast<const float2*>(side.bias + c);
      const float2 s = E == kResidual ? float2{0, 0} : *reinterpret_cast<const float2*>(side.sums + c);
      float2 w = {1, 1};
      if constexpr (SCALED) w = *reinterpret_cast<const float2*>(side.scales + c);
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const float* v = d + 4 * (4 * group + j) + 2 * half;
        const float2 y = finish<E>(SCALED ? v[0] * w.x : v[0], SCALED ? v[1] * w.y : v[1], b, s, norm[half],
                                   E == kResidual ? unpack2<T>(old[half][j]) : float2{0, 0});
        if (E == kResidual) {
          total[half] += y.x + y.y;
          squares[half] = fmaf(y.x, y.x, fmaf(y.y, y.y, squares[half]));
        }
        if (!kActivated) out[half][j] = pack2<T>(y.x, y.y);
        if (kActivated || copies) packed[j] |= pack_e4m3(y.x * g.out_scale, y.y * g.out_scale) << (16 * half);
      }
    }
    const int c = col + 32 * group;
    if (!kActivated) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        quad_transpose(out[half], t);
        const int r = r0 + 8 * half;
        if (r < g.m) *reinterpret_cast<uint4*>(element<T>(g.out, r, g.ldout, c + 8 * t)) = *reinterpret_cast<uint4*>(out[half]);
      }
    }
    if (kActivated) store_e4m3(g.out, g.ldout, g.m, r0, c, packed, t);
    if (copies) store_e4m3(g.copy, g.ldcopy, g.m, r0, c, packed, t);
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
