// The matrix product on Hopper: tiles come through the tensor memory accelerator into a ring of stages in
// shared memory, warpgroup products read them there, one thread feeds the ring. Instances in
// gemm_sm90_*.cu.
//
// A thread-block cluster serves one of two ends. With DOWN x ACROSS > 1 the blocks compute adjacent tiles:
// DOWN blocks one above the other need the same tile of W and fetch a part of it each, for all of them;
// ACROSS blocks side by side do so with A. With SPLIT > 1 the blocks divide k; each
// sends its sums of the others' rows to their shared memory, and adds what it receives in a fixed order: results do not
// depend on timing.
#pragma once
#include "gemm.cuh"
#include "wgmma.cuh"

namespace sm90 {

__device__ __forceinline__ void barrier_init(uint32_t at, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(at), "r"(count) : "memory");
}
__device__ __forceinline__ void barrier_expect(uint32_t at, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(at), "r"(bytes) : "memory");
}
// barrier_arrive arrives at the barrier at the same place in block `rank` of the cluster. What it orders is
// the accelerator's writes after this block's reads; a release for the whole cluster would wait for all
// earlier stores to memory (a third slower).
__device__ __forceinline__ void barrier_arrive(uint32_t at, int rank) {
  asm volatile("{\n.reg .b32 remote;\nmapa.shared::cluster.u32 remote, %0, %1;\n"
               "mbarrier.arrive.shared::cluster.b64 _, [remote];\n}" ::"r"(at), "r"(rank) : "memory");
}
__device__ __forceinline__ void barrier_wait(uint32_t at, uint32_t parity) {
  asm volatile("{\n.reg .pred done;\nagain:\n"
               "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
               "@done bra over;\nbra again;\nover:\n}" ::"r"(at), "r"(parity) : "memory");
}
__device__ __forceinline__ int cluster_rank() {
  int r;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(r));
  return r;
}
// cluster_meet waits for the other blocks and orders nothing: what one of them sent before, by a remote arrival
// or a store, may still be on its way. The barrier counts warps, so all lanes of one must come together; a lane
// that was elsewhere is waited for.
__device__ __forceinline__ void cluster_meet() {
  __syncwarp();
  asm volatile("barrier.cluster.arrive.relaxed.aligned;\nbarrier.cluster.wait.aligned;" ::: "memory");
}
// fetch starts the copy of a box whose first element is at column x of row y.
__device__ __forceinline__ void fetch(uint32_t to, const TensorMap* map, int x, int y, uint32_t barrier) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];"
               ::"r"(to), "l"(map), "r"(x), "r"(y), "r"(barrier) : "memory");
}
__device__ __forceinline__ void fetch_multicast(uint32_t to, const TensorMap* map, int x, int y, uint32_t barrier, uint16_t blocks) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%2, %3}], [%4], %5;"
               ::"r"(to), "l"(map), "r"(x), "r"(y), "r"(barrier), "h"(blocks) : "memory");
}
// fetch_to_l2 brings a box no nearer than the L2.
__device__ __forceinline__ void fetch_to_l2(const TensorMap* map, int x, int y) {
  asm volatile("cp.async.bulk.prefetch.tensor.2d.L2.global [%0, {%1, %2}];" ::"l"(map), "r"(x), "r"(y) : "memory");
}
__device__ __forceinline__ void prefetch(const TensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}
// operand describes a tile of rows of 128 bytes, swizzled as the accelerator writes it with
// SWIZZLE_128B: groups of eight rows are 1024 bytes apart.
__device__ __forceinline__ uint64_t operand(uint32_t at) {
  return (static_cast<uint64_t>(1) << 62) | (static_cast<uint64_t>(64) << 32) | (static_cast<uint64_t>(1) << 16) | ((at & 0x3ffff) >> 4);
}
template <int N> __device__ __forceinline__ void named_barrier(int id) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "n"(N) : "memory");
}

// send stores 16 bytes in block `rank` of the cluster, at the place that `to` is here, and completes them at
// the barrier there.
__device__ __forceinline__ void send(uint32_t to, int rank, uint32_t barrier, const float* v) {
  asm volatile("{\n.reg .b32 remote, done;\nmapa.shared::cluster.u32 remote, %0, %2;\nmapa.shared::cluster.u32 done, %1, %2;\n"
               "st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [remote], {%3, %4, %5, %6}, [done];\n}"
               ::"r"(to), "r"(barrier), "r"(rank), "f"(v[0]), "f"(v[1]), "f"(v[2]), "f"(v[3]) : "memory");
}

// Side is what the epilogue of a tile needs besides the product.
template <int ROWS, int BN> struct Side {
  RowNorm norm[ROWS];
  float bias[BN], sums[BN];
};

// SPLIT blocks that divide k own a share of the tile's rows each: as many whole warps' fragments.
template <int GROUPS, int BN, int STAGES, int SPLIT> struct Layout {
  static constexpr int kRows = 64 * GROUPS;
  static constexpr int kA = kRows * 128, kW = BN * 128, kStage = kA + kW;
  static constexpr int kBarriers = STAGES * kStage;                // full and empty of each stage, then of two sides, then of what other blocks send
  static constexpr int kSides = kBarriers + 16 * STAGES + 48;
  static constexpr int kReceived = kSides + 2 * sizeof(Side<kRows, BN>);
  static constexpr int kShareWarps = 4 * GROUPS / SPLIT, kShare = kRows / SPLIT * BN * 4;
  static constexpr int kBytes = kReceived + (SPLIT - 1) * kShare;  // gemm.go adds 1024 for the alignment
};

// side_columns fetches bias and sums; they depend on no kernel. side_norms makes row norms, LANES threads a
// row. Thread `thread` of THREADS.
template <int E, int ROWS, int BN, int THREADS>
__device__ __forceinline__ void side_columns(const GemmArgs& g, Side<ROWS, BN>& to, int col, int thread) {
  for (int i = thread; i < BN; i += THREADS) {
    to.bias[i] = g.bias[col + i];
    if (E != kResidual) to.sums[i] = g.sums[col + i];
  }
}
template <int ROWS, int BN, int THREADS, int LANES>
__device__ __forceinline__ void side_norms(const GemmArgs& g, Side<ROWS, BN>& to, int row, int thread) {
#pragma unroll
  for (int i = thread / LANES; i < ROWS; i += THREADS / LANES) {
    const RowNorm n = row_norm(g, row + i, thread % LANES, LANES);
    if (thread % LANES == 0) to.norm[i] = n;
  }
}

// A block has GROUPS warpgroups of 64 x BN each, a warp that feeds them, and with two warpgroups another one
// that prepares the epilogue's numbers; one warpgroup prepares them while it waits for the first tiles. With
// TURNS the two warpgroups take turns instead of sharing a tile: one multiplies all 128 rows of a tile while
// the other is at the epilogue of the tile before.
template <typename T, int E, int GROUPS, int BN, int STAGES, int DOWN, int ACROSS, int SPLIT, int REGISTERS, bool TURNS>
__device__ __forceinline__ void gemm(const GemmArgs& g) {
  using L = Layout<GROUPS, BN, STAGES, SPLIT>;
  using S = Side<L::kRows, BN>;
  constexpr int kReaders = 4 * (TURNS ? 1 : GROUPS);  // warps that read a stage
  constexpr int kSharing = DOWN * ACROSS, kWriters = DOWN + ACROSS - 1;  // blocks that write to a block's stages
  constexpr bool kCluster = kSharing > 1 || SPLIT > 1;
  static_assert(SPLIT == 1 || kSharing == 1, "");
  constexpr bool kReady = E == kResidual && GROUPS == 1 && BN <= 128;
  extern __shared__ unsigned char memory[];
  const uint32_t start = shared_address(memory), base = (start + 1023) & ~1023u;
  const uint32_t full = base + L::kBarriers, empty = full + STAGES * 8, side_full = empty + STAGES * 8, side_empty = side_full + 16, received = side_empty + 16;
  unsigned char* local = memory + (base - start);
  S* sides = reinterpret_cast<S*>(local + L::kSides);
  const int warp = __shfl_sync(~0u, threadIdx.x >> 5, 0), lane = threadIdx.x & 31, group = warp >> 2;
  const int rank = kCluster ? cluster_rank() : 0;

  if (threadIdx.x == 0) {
    for (int s = 0; s < STAGES; s++) {
      barrier_init(full + 8 * s, 1);
      barrier_init(empty + 8 * s, kReaders * kWriters);
    }
    for (int s = 0; s < 2; s++) {
      barrier_init(side_full + 8 * s, 32);
      barrier_init(side_empty + 8 * s, kReaders);
    }
    if (SPLIT > 1) {
      barrier_init(received, 1);
      barrier_expect(received, (SPLIT - 1) * L::kShare);
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
  __syncthreads();
  if (kCluster) cluster_meet();
  dependency_release();

  const int blocks = (g.k + 63) / 64 / SPLIT, first = SPLIT > 1 ? rank * blocks : 0;
  const int down = kSharing > 1 ? rank / ACROSS : 0, across = kSharing > 1 ? rank % ACROSS : 0;
  const int tiles_n = g.n / (BN * ACROSS), tiles_m = (g.m + L::kRows * DOWN - 1) / (L::kRows * DOWN), tiles = tiles_n * tiles_m;  // of a cluster
  const int cluster = blockIdx.x / (kSharing * SPLIT), clusters = gridDim.x / (kSharing * SPLIT);
  auto row_of = [&](int tile) { return (tile / tiles_n * DOWN + down) * L::kRows; };
  auto col_of = [&](int tile) { return (tile % tiles_n * ACROSS + across) * BN; };

  if (group == GROUPS) {
    if (REGISTERS) asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
    if (warp == 4 * GROUPS && lane == 0) {
      auto fetch_w = [&](int stage, int block, int col) {
        const uint32_t to = base + stage * L::kStage + L::kA, barrier = full + 8 * stage;
        constexpr uint16_t kColumn = DOWN == 1 ? 1 : DOWN == 2 ? 1 | 1 << ACROSS : 1 | 1 << ACROSS | 1 << 2 * ACROSS | 1 << 3 * ACROSS;
        if (DOWN > 1)
          fetch_multicast(to + down * (L::kW / DOWN), &g.map_w, block * 64, col + down * (BN / DOWN), barrier, kColumn << across);
        else
          fetch(to, &g.map_w, block * 64, col, barrier);
      };
      auto fetch_a = [&](int stage, int block, int row) {
        const uint32_t to = base + stage * L::kStage, barrier = full + 8 * stage;
        if (ACROSS > 1)
          fetch_multicast(to + across * (L::kA / ACROSS), &g.map_a, block * 64, row + across * (L::kRows / ACROSS), barrier, ((1 << ACROSS) - 1) << (down * ACROSS));
        else
          fetch(to, &g.map_a, block * 64, row, barrier);
      };
      // What comes from the device's memory is a few blocks of k too late for the ring: the first tile of
      // a row of tiles fetches A's blocks to the L2 in advance.
      constexpr int kAhead = 4;
      auto fetch_ahead = [&](int tile, int block) {
        if (tile < tiles && col_of(tile) == 0) fetch_to_l2(&g.map_a, block * 64, row_of(tile));
      };
      prefetch(&g.map_w);
      prefetch(&g.map_a);
      // The weights of the first stages do not depend on the kernel before.
      const int ahead = min(STAGES, blocks);
      for (int s = 0; s < ahead; s++) {
        barrier_expect(full + 8 * s, L::kStage);
        fetch_w(s, first + s, col_of(cluster));
      }
      dependency_wait();
      for (int s = 0; s < ahead; s++) fetch_a(s, first + s, row_of(cluster));
      int turn = 0, stage = 0;
      uint32_t parity = 1;
      for (int tile = cluster; tile < tiles; tile += clusters) {
        const int row = row_of(tile), col = col_of(tile);
        for (int b = 0; b < blocks; b++, turn++) {
          if (turn >= ahead) {
            barrier_wait(empty + 8 * stage, parity);
            barrier_expect(full + 8 * stage, L::kStage);
            fetch_w(stage, first + b, col);
            fetch_a(stage, first + b, row);
            if (GROUPS > 1 && ACROSS == 1) {
              const bool here = b + kAhead < blocks;
              fetch_ahead(here ? tile : tile + clusters, here ? b + kAhead : b + kAhead - blocks);
            }
          }
          if (++stage == STAGES) stage = 0, parity ^= 1;
        }
      }
      // A block whose memory other blocks signal in must outlive their signals, which its own last tile does not
      // wait for. When all stages are free, each reader of what this block sent has told so here, and nothing
      // is on its way to this block any more: what the others sent it its own readers have read.
      if (kSharing > 1) {
        for (int s = 0; s < STAGES; s++) {
          barrier_wait(empty + 8 * stage, parity);
          if (++stage == STAGES) stage = 0, parity ^= 1;
        }
      }
    } else if (GROUPS > 1 && warp == 4 * GROUPS + 1) {
      int turn = 0;
      for (int tile = cluster; tile < tiles; tile += clusters, turn++) {
        S& side = sides[turn & 1];
        if (turn >= 2) barrier_wait(side_empty + 8 * (turn & 1), (turn / 2 - 1) & 1);
        side_columns<E, L::kRows, BN, 32>(g, side, col_of(tile), lane);
        if (turn == 0) dependency_wait();
        if (E == kResidual) {
          constexpr int kLines = (BN + 63) / 64;  // of 128 bytes, a row
          for (int i = lane; i < L::kRows * kLines; i += 32) {
            const int row = row_of(tile) + i / kLines;
            if (row < g.m) asm volatile("prefetch.global.L2 [%0];" ::"l"(element<T>(g.residual, residual_row(g, row), g.ldresidual, col_of(tile) + i % kLines * 64)));
          }
        } else {
          side_norms<L::kRows, BN, 32, 1>(g, side, row_of(tile), lane);
        }
        asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(side_full + 8 * (turn & 1)) : "memory");
      }
    }
  } else {
    if (REGISTERS) asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(REGISTERS ? REGISTERS : 40));
    auto release = [&](int stage) {
      if (kSharing > 1) {  // tell the blocks in this one's column, then the others in its row
        const int other = lane - DOWN + (lane - DOWN >= across);
        if (lane < kWriters) barrier_arrive(empty + 8 * stage, lane < DOWN ? lane * ACROSS + across : down * ACROSS + other);
      } else if (lane == 0) {
        asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(empty + 8 * stage) : "memory");
      }
    };
    if (GROUPS == 1) side_columns<E, L::kRows, BN, 128>(g, sides[0], col_of(cluster), threadIdx.x);
    dependency_wait();
    int turn = 0, stage = 0, previous = 0;
    uint32_t parity = 0;
    for (int tile = cluster; tile < tiles; tile += clusters, turn++) {
      if (TURNS && (turn & 1) != group) {
        const int passed = stage + blocks;
        stage = passed % STAGES;
        parity ^= passed / STAGES & 1;
        continue;
      }
      constexpr int kParts = TURNS ? 2 : 1;  // of 64 rows
      const int tile_row = row_of(tile), col = col_of(tile), group_row = TURNS ? 0 : group * 64;
      Residual<BN / 8> old;
      if (GROUPS == 1) {
        if (turn > 0) {
          named_barrier<128>(1);
          side_columns<E, L::kRows, BN, 128>(g, sides[0], col, threadIdx.x);
        }
        if (E != kResidual) side_norms<L::kRows, BN, 128, 2>(g, sides[0], tile_row, threadIdx.x);
        if (kReady && (SPLIT == 1 || warp / L::kShareWarps == rank)) load_residual<T, BN / 8>(g, tile_row + warp * 16, col, old);
      }
      // The other warpgroup has seen all its stages arrive: a barrier's parity tells two rounds apart, no more.
      if (TURNS && turn > 0) named_barrier<256>(2 + group);
      float acc[kParts][BN / 2];
      for (int b = 0; b < blocks; b++) {
        barrier_wait(full + 8 * stage, parity);
        const uint64_t a = operand(base + stage * L::kStage + group_row * 128), w = operand(base + stage * L::kStage + L::kA);
        asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
        for (int kk = 0; kk < 4; kk++)
#pragma unroll
          for (int part = 0; part < kParts; part++)
            Warpgroup<T, BN>::multiply(acc[part], a + (part * 64 * 128 >> 4) + 2 * kk, w + 2 * kk, b | kk);
        asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
        asm volatile("wgmma.wait_group.sync.aligned 1;" ::: "memory");
        if (b > 0) release(previous);
        previous = stage;
        if (++stage == STAGES) stage = 0, parity ^= 1;
      }
      if (TURNS && tile + clusters < tiles) asm volatile("bar.arrive %0, 256;" ::"r"(2 + (group ^ 1)) : "memory");
      asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
      release(previous);
      const S& side = sides[GROUPS > 1 ? turn & 1 : 0];
      if (GROUPS > 1) barrier_wait(side_full + 8 * (turn & 1), (turn / 2) & 1);
      if (GROUPS == 1) named_barrier<128>(1);
      if constexpr (SPLIT > 1) {  // one tile a cluster
        const int owner = warp / L::kShareWarps, slot = warp % L::kShareWarps;
        auto fragment = [&](int source, int j) { return (((source * L::kShareWarps + slot) * (BN / 8) + j) * 32 + lane) * 16; };
        if (owner != rank) {
#pragma unroll
          for (int j = 0; j < BN / 8; j++) send(base + L::kReceived + fragment(rank - (rank > owner), j), owner, received, &acc[0][4 * j]);
          continue;
        }
        barrier_wait(received, 0);
#pragma unroll
        for (int source = 0; source < SPLIT - 1; source++)
#pragma unroll
          for (int j = 0; j < BN / 8; j++) {
            const float4 v = *reinterpret_cast<const float4*>(local + L::kReceived + fragment(source, j));
            acc[0][4 * j] += v.x, acc[0][4 * j + 1] += v.y, acc[0][4 * j + 2] += v.z, acc[0][4 * j + 3] += v.w;
          }
      }
#pragma unroll
      for (int part = 0; part < kParts; part++) {
        const int first_row = group_row + part * 64 + (warp & 3) * 16, r = first_row + (lane >> 2);
        RowNorm norm[2] = {};
        if (E != kResidual) norm[0] = side.norm[r], norm[1] = side.norm[r + 8];
        epilogue<T, E, BN / 8, kReady>(g, acc[part], tile_row + first_row, col, col / BN, norm, side.bias, side.sums, &old);
      }
      if (GROUPS > 1 && lane == 0) asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(side_empty + 8 * (turn & 1)) : "memory");
    }
  }
  // Owners come here when all sums that were sent to them have arrived: behind this no store to another block's
  // memory is on its way.
  if (SPLIT > 1) cluster_meet();
}

}  // namespace sm90

// A name says: type, warpgroups (t: two that take turns), columns, then blocks down (m) and across (n) that share, or a split of k.
#define GEMM(type, T, name, epilogue_name, E, GROUPS, BN, STAGES, DOWN, ACROSS, SPLIT, THREADS, MINIMUM, REGISTERS, TURNS)                 \
  extern "C" __global__ void __cluster_dims__(DOWN * ACROSS * SPLIT, 1, 1) __launch_bounds__(THREADS, MINIMUM)                             \
      gemm_##type##_##name##_##epilogue_name(const __grid_constant__ GemmArgs g) {                                                         \
    sm90::gemm<T, E, GROUPS, BN, STAGES, DOWN, ACROSS, SPLIT, REGISTERS, TURNS>(g);                                                        \
  }
#define NORMS(type, T, name, ...)                                       \
  GEMM(type, T, name, norm, kNorm, __VA_ARGS__)                         \
  GEMM(type, T, name, norm_quickgelu, kNormQuickGelu, __VA_ARGS__)      \
  GEMM(type, T, name, norm_gelu, kNormGelu, __VA_ARGS__)
#define RESIDUAL(type, T, name, ...) GEMM(type, T, name, residual, kResidual, __VA_ARGS__)
#define BOTH(type, T, name, ...) NORMS(type, T, name, __VA_ARGS__) RESIDUAL(type, T, name, __VA_ARGS__)

// The table is repeated in gemm.go: groups, columns, stages, down, across, split.
#define INSTANCES(type, T)                                              \
  BOTH(type, T, 1x24, 1, 24, 8, 1, 1, 1, 160, 2, 0, false)              \
  BOTH(type, T, 1x48, 1, 48, 7, 1, 1, 1, 160, 2, 0, false)              \
  BOTH(type, T, 1x48n4, 1, 48, 7, 1, 4, 1, 160, 2, 0, false)            \
  BOTH(type, T, 1x96, 1, 96, 5, 1, 1, 1, 160, 2, 0, false)              \
  BOTH(type, T, 1x128, 1, 128, 4, 1, 1, 1, 160, 2, 0, false)            \
  BOTH(type, T, 1x192, 1, 192, 6, 1, 1, 1, 160, 1, 0, false)            \
  BOTH(type, T, 1x192m2, 1, 192, 6, 2, 1, 1, 160, 1, 0, false)          \
  BOTH(type, T, 2x128, 2, 128, 3, 1, 1, 1, 320, 2, 0, false)            \
  BOTH(type, T, 2x128m2, 2, 128, 3, 2, 1, 1, 320, 2, 0, false)          \
  BOTH(type, T, 2x128m2n2, 2, 128, 6, 2, 2, 1, 384, 1, 232, false)      \
  BOTH(type, T, 2x192m2, 2, 192, 5, 2, 1, 1, 384, 1, 232, false)        \
  BOTH(type, T, t128m2, 2, 128, 6, 2, 1, 1, 384, 1, 232, true)          \
  BOTH(type, T, 2x256, 2, 256, 4, 1, 1, 1, 384, 1, 232, false)          \
  BOTH(type, T, 2x256m2, 2, 256, 4, 2, 1, 1, 384, 1, 232, false)        \
  RESIDUAL(type, T, 1x24k4, 1, 24, 8, 1, 1, 4, 160, 2, 0, false)        \
  BOTH(type, T, 1x48k2, 1, 48, 7, 1, 1, 2, 160, 2, 0, false)            \
  BOTH(type, T, 1x48k4, 1, 48, 7, 1, 1, 4, 160, 2, 0, false)            \
  BOTH(type, T, 1x96k2, 1, 96, 5, 1, 1, 2, 160, 2, 0, false)            \
  BOTH(type, T, 1x96k4, 1, 96, 5, 1, 1, 4, 160, 2, 0, false)            \
  GEMM(type, T, 1x32, norm_float, kNormFloat, 1, 32, 8, 1, 1, 1, 160, 2, 0, false)
