// The LayerNorm before the first block (Ba et al. 2016), in place, and the partial sums of its result for
// the one that follows it. A warp a row.
#include "common.cuh"

// NormArgs is mirrored in Go (norm.go): keep the order.
struct NormArgs {
  void* x;
  const float *weight, *bias;
  float2* stats;  // [row], one part
  int rows, width;
  float epsilon;
  int reserved;
};
static_assert(sizeof(NormArgs) == 48, "mirrored in Go");

constexpr int kMaxWidth = 2048;

template <typename T> __device__ __forceinline__ void norm(const NormArgs& g) {
  constexpr int kVector = 16 / sizeof(T), kVectors = kMaxWidth / 32 / kVector;
  const int lane = threadIdx.x & 31, row = blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5);
  dependency_release();
  dependency_wait();
  if (row >= g.rows) return;
  T* x = static_cast<T*>(g.x) + static_cast<size_t>(row) * g.width;
  const int vectors = g.width / kVector;
  union { uint4 raw; T v[kVector]; } data[kVectors];
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kVectors; i++) {
    if (i * 32 + lane >= vectors) continue;
    data[i].raw = reinterpret_cast<const uint4*>(x)[i * 32 + lane];
    for (int j = 0; j < kVector; j++) sum += to_float(data[i].v[j]);
  }
  const float mean = warp_sum(sum) / g.width;
  float squares = 0;
#pragma unroll
  for (int i = 0; i < kVectors; i++) {
    if (i * 32 + lane >= vectors) continue;
    for (int j = 0; j < kVector; j++) {
      const float d = to_float(data[i].v[j]) - mean;
      squares = fmaf(d, d, squares);
    }
  }
  const float scale = rsqrtf(warp_sum(squares) / g.width + g.epsilon);
  float total = 0, total_squares = 0;
#pragma unroll
  for (int i = 0; i < kVectors; i++) {
    if (i * 32 + lane >= vectors) continue;
    const int col = (i * 32 + lane) * kVector;
    for (int j = 0; j < kVector; j++) {
      data[i].v[j] = from_float<T>((to_float(data[i].v[j]) - mean) * scale * g.weight[col + j] + g.bias[col + j]);
      const float y = to_float(data[i].v[j]);
      total += y;
      total_squares = fmaf(y, y, total_squares);
    }
    reinterpret_cast<uint4*>(x)[i * 32 + lane] = data[i].raw;
  }
  total = warp_sum(total);
  total_squares = warp_sum(total_squares);
  if (lane == 0) g.stats[row] = {total, total_squares};
}

extern "C" __global__ void __launch_bounds__(128) norm_f16(const __grid_constant__ NormArgs g) { norm<__half>(g); }
extern "C" __global__ void __launch_bounds__(128) norm_bf16(const __grid_constant__ NormArgs g) { norm<__nv_bfloat16>(g); }
extern "C" __global__ void __launch_bounds__(128) norm_f32(const __grid_constant__ NormArgs g) { norm<float>(g); }
