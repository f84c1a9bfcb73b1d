// softmax(Q K^T / sqrt(64)) V for heads of 64 dimensions, any number of tokens (Vaswani et al. 2017,
// equation 1), one pass over the keys with a running maximum and sum (Milakov and Gimelshein 2018).
#include "common.cuh"

// AttentionArgs is mirrored in Go (attention.go): keep the order.
struct AttentionArgs {
  const void *q, *k, *v;
  void* out;
  int queries, tokens;     // of one image
  int ldq, ldkv, ldout;    // elements from one row to the next
  int q_rows;              // rows of q from one image to the next
};
static_assert(sizeof(AttentionArgs) == 56, "mirrored in Go");

constexpr int kDim = 64, kTile = 64, kTileBytes = kTile * kDim * 2;
constexpr float kScale = 0.125f * 1.44269504f;  // 1/sqrt(64), and exp(x) = exp2(x log2 e)

// Block (head, image, tile of 64 queries) of four warps; a warp has 16 queries.
template <typename T> __device__ __forceinline__ void attention(const AttentionArgs& g) {
  extern __shared__ __align__(1024) unsigned char memory[];  // Q, then K and V once or, for more than 64 tokens, twice
  const uint32_t sq = shared_address(memory), skv = sq + kTileBytes;
  const int thread = threadIdx.x, lane = thread & 31, warp = thread >> 5, t = lane & 3;
  const int column = blockIdx.x * kDim, image = blockIdx.y, q0 = blockIdx.z * kTile;
  const T* q = static_cast<const T*>(g.q) + static_cast<size_t>(image) * g.q_rows * g.ldq + column;
  const T* k = static_cast<const T*>(g.k) + static_cast<size_t>(image) * g.tokens * g.ldkv + column;
  const T* v = static_cast<const T*>(g.v) + static_cast<size_t>(image) * g.tokens * g.ldkv + column;

  dependency_release();
  dependency_wait();
  auto load = [&](uint32_t to, const T* from, int ld, int first, int rows) {
    for (int i = thread; i < kTile * 8; i += 128) {
      const int r = i >> 3, c = i & 7;
      const bool real = first + r < rows;
      copy16(to + swizzled(r, c), from + static_cast<size_t>(real ? first + r : 0) * ld + c * 8, real);
    }
  };
  const int tiles = (g.tokens + kTile - 1) / kTile;
  load(sq, q, g.ldq, q0, g.queries);
  load(skv, k, g.ldkv, 0, g.tokens);
  load(skv + kTileBytes, v, g.ldkv, 0, g.tokens);
  copy_commit();

  const bool active = q0 + warp * 16 < g.queries;
  uint32_t query[4][4];
  float out[32] = {}, maximum[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0};
  for (int tile = 0; tile < tiles; tile++) {
    if (tile + 1 < tiles) {
      const uint32_t to = skv + (tile + 1) % 2 * 2 * kTileBytes;
      load(to, k, g.ldkv, (tile + 1) * kTile, g.tokens);
      load(to + kTileBytes, v, g.ldkv, (tile + 1) * kTile, g.tokens);
      copy_commit();
      copy_wait<1>();
    } else {
      copy_wait<0>();
    }
    __syncthreads();
    if (active) {
      const uint32_t sk = skv + tile % 2 * 2 * kTileBytes, sv = sk + kTileBytes;
      if (tile == 0)
#pragma unroll
        for (int kk = 0; kk < 4; kk++) load_matrix(query[kk], sq + swizzled(warp * 16 + (lane & 15), kk * 2 + (lane >> 4)));
      float score[32] = {};
#pragma unroll
      for (int kk = 0; kk < 4; kk++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
          uint32_t b[4];
          load_matrix(b, sk + swizzled(j * 16 + (lane & 7) + (lane >> 4) * 8, kk * 2 + ((lane >> 3) & 1)));
          multiply16<T>(&score[8 * j], query[kk], b[0], b[1]);
          multiply16<T>(&score[8 * j + 4], query[kk], b[2], b[3]);
        }
#pragma unroll
      for (int half = 0; half < 2; half++) {
        float top = maximum[half];
#pragma unroll
        for (int j = 0; j < 8; j++)
#pragma unroll
          for (int e = 0; e < 2; e++) {
            float& s = score[4 * j + 2 * half + e];
            s = tile * kTile + 8 * j + 2 * t + e < g.tokens ? s * kScale : -INFINITY;
            top = fmaxf(top, s);
          }
        top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
        top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
        const float shrink = fast_exp2(maximum[half] - top);
        maximum[half] = top;
        float sum = 0;
#pragma unroll
        for (int j = 0; j < 8; j++)
#pragma unroll
          for (int e = 0; e < 2; e++) {
            float& s = score[4 * j + 2 * half + e];
            s = fast_exp2(s - top);
            sum += s;
            out[4 * j + 2 * half + e] *= shrink;
          }
        total[half] = total[half] * shrink + sum;
      }
#pragma unroll
      for (int kk = 0; kk < 4; kk++) {
        const float* p = score + 8 * kk;
        const uint32_t a[4] = {pack2<T>(p[0], p[1]), pack2<T>(p[2], p[3]), pack2<T>(p[4], p[5]), pack2<T>(p[6], p[7])};
#pragma unroll
        for (int j = 0; j < 4; j++) {
          uint32_t b[4];
          load_matrix_transposed(b, sv + swizzled(kk * 16 + (lane & 15), j * 2 + (lane >> 4)));
          multiply16<T>(&out[8 * j], a, b[0], b[1]);
          multiply16<T>(&out[8 * j + 4], a, b[2], b[3]);
        }
      }
    }
    __syncthreads();
  }
  if (!active) return;
#pragma unroll
  for (int half = 0; half < 2; half++) {
    float sum = total[half];
    sum += __shfl_xor_sync(~0u, sum, 1);
    sum += __shfl_xor_sync(~0u, sum, 2);
    const float scale = 1.0f / sum;
    const int row = q0 + warp * 16 + (lane >> 2) + 8 * half;
    T* to = static_cast<T*>(g.out) + (static_cast<size_t>(image) * g.queries + row) * g.ldout + column;
#pragma unroll
    for (int group = 0; group < 2; group++) {
      uint32_t r[4];
#pragma unroll
      for (int j = 0; j < 4; j++) {
        const float* o = out + 4 * (4 * group + j) + 2 * half;
        r[j] = pack2<T>(o[0] * scale, o[1] * scale);
      }
      quad_transpose(r, t);
      if (row < g.queries) *reinterpret_cast<uint4*>(to + 32 * group + 8 * t) = *reinterpret_cast<uint4*>(r);
    }
  }
}

extern "C" __global__ void __launch_bounds__(128) attention_f16(const __grid_constant__ AttentionArgs g) { attention<__half>(g); }
extern "C" __global__ void __launch_bounds__(128) attention_bf16(const __grid_constant__ AttentionArgs g) { attention<__nv_bfloat16>(g); }

// In float32, plainly: block (head, image, tile of 64 queries), a query at a time to each of four warps.
extern "C" __global__ void __launch_bounds__(128) attention_f32(const __grid_constant__ AttentionArgs g) {
  extern __shared__ __align__(16) unsigned char scores[];  // four rows
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  float* score = reinterpret_cast<float*>(scores) + warp * g.tokens;
  const int column = blockIdx.x * kDim, image = blockIdx.y;
  dependency_wait();
  for (int row = blockIdx.z * kTile + warp; row < min((static_cast<int>(blockIdx.z) + 1) * kTile, g.queries); row += 4) {
    const float* q = static_cast<const float*>(g.q) + (static_cast<size_t>(image) * g.q_rows + row) * g.ldq + column;
    const float* k = static_cast<const float*>(g.k) + static_cast<size_t>(image) * g.tokens * g.ldkv + column;
    const float* v = static_cast<const float*>(g.v) + static_cast<size_t>(image) * g.tokens * g.ldkv + column;
    float top = -INFINITY, sum = 0;
    for (int i = lane; i < g.tokens; i += 32) {
      float s = 0;
      for (int d = 0; d < kDim; d++) s = fmaf(q[d], k[static_cast<size_t>(i) * g.ldkv + d], s);
      score[i] = s * kScale;
      top = fmaxf(top, score[i]);
    }
    for (int d = 16; d > 0; d >>= 1) top = fmaxf(top, __shfl_xor_sync(~0u, top, d));
    for (int i = lane; i < g.tokens; i += 32) {
      score[i] = exp2f(score[i] - top);
      sum += score[i];
    }
    sum = warp_sum(sum);
    __syncwarp();
    for (int d = lane; d < kDim; d += 32) {
      float o = 0;
      for (int i = 0; i < g.tokens; i++) o = fmaf(score[i], v[static_cast<size_t>(i) * g.ldkv + d], o);
      static_cast<float*>(g.out)[(static_cast<size_t>(image) * g.queries + row) * g.ldout + column + d] = o / sum;
    }
    __syncwarp();
  }
}
