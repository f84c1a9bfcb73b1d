// From pixels that a decoder left in the device's memory to a model's input: Pillow's resize, two passes in
// 22-bit fixed point of which each rounds to 8 bits, as internal/preproc/resize has them; and the test of
// whether the decoder wrote at all. This file is also compiled for the host, by a test: it uses nothing but
// blockIdx, threadIdx and plain C++.
#include <stdint.h>

// A Pass scales the lines of an image along one axis. Mirrored in Go (internal/cardjpeg): keep the order.
struct Pass {
  const uint8_t* src;  // sample 0 of line 0, three bytes a sample
  uint8_t* dst;
  const int32_t* taps;  // for each output its first sample, its number of weights and where they begin here; the weights
  int32_t outputs, lines;
  int32_t step, across;          // bytes from a sample to the next one of its line, and to that of the next line
  int32_t step_out, across_out;  // the same of dst
  int32_t columns;               // the lines are columns: neighbouring threads take neighbouring lines
  int32_t reserved;
};
static_assert(sizeof(Pass) == 56, "mirrored in Go");

struct PassArgs {
  const Pass* passes;  // one for each blockIdx.y
};

constexpr int kBits = 22, kThreads = 256;

static __device__ __forceinline__ uint8_t clip(uint32_t sum) {
  const int32_t v = static_cast<int32_t>(sum) >> kBits;
  return static_cast<uint8_t>(v < 0 ? 0 : v > 255 ? 255 : v);
}

extern "C" __global__ void __launch_bounds__(kThreads) resize_pass(const __grid_constant__ PassArgs g) {
  const Pass p = g.passes[blockIdx.y];
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= static_cast<int64_t>(p.outputs) * p.lines) return;
  const int width = p.columns ? p.lines : p.outputs;
  const int x = static_cast<int>(i % width), y = static_cast<int>(i / width);
  const int output = p.columns ? y : x, line = p.columns ? x : y;
  const int32_t* span = p.taps + 3 * output;
  const uint8_t* src = p.src + static_cast<int64_t>(span[0]) * p.step + static_cast<int64_t>(line) * p.across;
  const int n = span[1];
  const int32_t* weights = p.taps + span[2];
  uint32_t r = 1u << (kBits - 1), green = r, b = r;  // unsigned: sums wrap as Go's do
  for (int j = 0; j < n; j++) {
    const uint32_t w = static_cast<uint32_t>(weights[j]);
    r += src[0] * w;
    green += src[1] * w;
    b += src[2] * w;
    src += p.step;
  }
  uint8_t* dst = p.dst + static_cast<int64_t>(output) * p.step_out + static_cast<int64_t>(line) * p.across_out;
  dst[0] = clip(r);
  dst[1] = clip(green);
  dst[2] = clip(b);
}

// The decoders in hardware have reported images as decoded that they had skipped. resize_mark writes a pattern to a
// few pixels of each image before it is decoded; resize_check sets the flag of an image in which all of it is
// left. Mirrored in Go.
struct Decoded {
  uint8_t* pixels;
  int64_t count;  // of pixels
};

struct MarkArgs {
  const Decoded* images;
  int32_t* flags;
  int32_t count, reserved;
};
static_assert(sizeof(MarkArgs) == 24, "mirrored in Go");

constexpr int kMarks = 16;

static __device__ __forceinline__ int64_t marked(int64_t count, int i) { return (count - 1) * i / (kMarks - 1); }
static __device__ __forceinline__ uint32_t pattern(int64_t pixel) { return static_cast<uint32_t>(pixel + 1) * 2654435761u; }

extern "C" __global__ void __launch_bounds__(kThreads) resize_mark(const __grid_constant__ MarkArgs g) {
  const int image = blockIdx.x * kThreads + threadIdx.x;
  if (image >= g.count) return;
  const Decoded d = g.images[image];
  for (int i = 0; i < kMarks; i++) {
    const int64_t at = marked(d.count, i);
    const uint32_t v = pattern(at);
    for (int c = 0; c < 3; c++) d.pixels[3 * at + c] = static_cast<uint8_t>(v >> (8 + 8 * c));
  }
}

extern "C" __global__ void __launch_bounds__(kThreads) resize_check(const __grid_constant__ MarkArgs g) {
  const int image = blockIdx.x * kThreads + threadIdx.x;
  if (image >= g.count) return;
  const Decoded d = g.images[image];
  int32_t left = 1;
  for (int i = 0; i < kMarks; i++) {
    const int64_t at = marked(d.count, i);
    const uint32_t v = pattern(at);
    for (int c = 0; c < 3; c++) left &= d.pixels[3 * at + c] == static_cast<uint8_t>(v >> (8 + 8 * c));
  }
  g.flags[image] = left;
}
