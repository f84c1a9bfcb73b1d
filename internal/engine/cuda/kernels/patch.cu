// From the rows that requests wrote to the patches that the first product multiplies: gathers by pointer,
// straight out of the host's pinned memory or from the device's, normalises and cuts.
#include "common.cuh"

// The table lies in pinned host memory and is filled for each run (mirrored in Go, patch.go).
struct RowTable {
  int format, rows;  // rows beyond `rows` are padding
  int reserved[2];
  const unsigned char* row[];  // as many as the largest batch has
};
enum Format { kUint8HWC = 1, kFloat32CHW = 2, kFloat16CHW = 3 };

// PatchArgs is mirrored in Go (patch.go): keep the order.
struct PatchArgs {
  const RowTable* table;
  void* out;           // [images * tokens, ld]; an image's row 0, the class token's, is zero
  int size, patch;     // of an image and of a patch, pixels
  int tokens, ld;      // ld >= 3*patch*patch; what is beyond is zero
  float scale[3], shift[3];  // normalised = scale * byte + shift
};
static_assert(sizeof(PatchArgs) == 56, "mirrored in Go");

template <typename T> struct Vector8 { T v[8]; };

template <typename T> __device__ __forceinline__ float pixel(const PatchArgs& g, const unsigned char* strip, const unsigned char* image, int format,
                                                             int first_line, int line, int x, int channel) {
  if (format == kUint8HWC) return fmaf(g.scale[channel], strip[(line * g.size + x) * 3 + channel], g.shift[channel]);
  const size_t at = (static_cast<size_t>(channel) * g.size + first_line + line) * g.size + x;
  if (format == kFloat32CHW) return reinterpret_cast<const float*>(image)[at];
  return __half2float(reinterpret_cast<const __half*>(image)[at]);
}

// Block (row of patches, image).
template <typename T> __device__ __forceinline__ void patch(const PatchArgs& g) {
  extern __shared__ __align__(16) unsigned char strip[];  // the bytes of a row of patches
  const int y = blockIdx.x, image = blockIdx.y, grid = g.size / g.patch, area = g.patch * g.patch;
  dependency_release();
  // Three reads of host memory at once, not one after the other.
  const int format = g.table->format, rows = g.table->rows;
  const unsigned char* from = g.table->row[image];
  const bool real = image < rows;
  if (real && format == kUint8HWC) {
    const int bytes = g.patch * g.size * 3;
    const uint4* src = reinterpret_cast<const uint4*>(from + static_cast<size_t>(y) * bytes);
    for (int i = threadIdx.x; i < bytes / 16; i += blockDim.x) reinterpret_cast<uint4*>(strip)[i] = src[i];
  }
  __syncthreads();
  dependency_wait();
  T* out = static_cast<T*>(g.out) + static_cast<size_t>(image) * g.tokens * g.ld;
  const int chunks = g.ld / 8;
  if (y == 0)
    for (int i = threadIdx.x; i < chunks; i += blockDim.x) {
      Vector8<T> zero;
      for (int j = 0; j < 8; j++) zero.v[j] = from_float<T>(0.0f);
      reinterpret_cast<Vector8<T>*>(out)[i] = zero;
    }
  for (int i = threadIdx.x; i < grid * chunks; i += blockDim.x) {
    const int p = i / chunks, k = i % chunks * 8;
    Vector8<T> v;
    int channel = k / area, line = k % area / g.patch, x = k % g.patch;
#pragma unroll
    for (int j = 0; j < 8; j++) {
      v.v[j] = from_float<T>(real && channel < 3 ? pixel<T>(g, strip, from, format, y * g.patch, line, p * g.patch + x, channel) : 0.0f);
      if (++x == g.patch) {
        x = 0;
        if (++line == g.patch) line = 0, channel++;
      }
    }
    *reinterpret_cast<Vector8<T>*>(out + static_cast<size_t>(1 + y * grid + p) * g.ld + k) = v;
  }
}

extern "C" __global__ void __launch_bounds__(1024) patch_f16(const __grid_constant__ PatchArgs g) { patch<__half>(g); }
extern "C" __global__ void __launch_bounds__(1024) patch_bf16(const __grid_constant__ PatchArgs g) { patch<__nv_bfloat16>(g); }
extern "C" __global__ void __launch_bounds__(1024) patch_f32(const __grid_constant__ PatchArgs g) { patch<float>(g); }
