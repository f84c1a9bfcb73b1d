// kernels/resize.cu compiled for the host: every block and thread, one after the other.
#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(n)
#define __grid_constant__

namespace {
struct Index {
  unsigned x, y, z;
} blockIdx, threadIdx;
}  // namespace

#include "../../engine/cuda/kernels/resize.cu"

template <typename Kernel> static void every(int blocks_x, int blocks_y, Kernel kernel) {
  for (blockIdx.y = 0; blockIdx.y < static_cast<unsigned>(blocks_y); blockIdx.y++)
    for (blockIdx.x = 0; blockIdx.x < static_cast<unsigned>(blocks_x); blockIdx.x++)
      for (threadIdx.x = 0; threadIdx.x < kThreads; threadIdx.x++) kernel();
}

extern "C" int host_pass(const PassArgs* g, int blocks_x, int blocks_y) {
  every(blocks_x, blocks_y, [g] { resize_pass(*g); });
  return 0;
}

extern "C" int host_mark(const MarkArgs* g, int blocks_x, int check) {
  every(blocks_x, 1, [g, check] { check ? resize_check(*g) : resize_mark(*g); });
  return 0;
}
