// Forward attention over all keys at level L2, written by hand: head dimension 128, tiles of 128 queries (2
// warpgroups of 64) x 176 keys, 2 stages. What the passes from L1 make of `sparseattn.attention`, and the
// example to read before them.
//
// RUN: sparseattn-opt %s --sparseattn-warpgroups-to-nvvm | FileCheck %s --check-prefix=L3
// RUN: sparseattn-opt %s --sparseattn-warpgroups-to-nvvm --sparseattn-nvvm-to-ptx | FileCheck %s --check-prefix=PTX
//
// L3: llvm.mlir.global external @dsmem() {addr_space = 3 : i32, alignment = 1024 : i64} : !llvm.array<0 x i8>
// L3: llvm.func @attention(%{{.*}}: !llvm.ptr {llvm.align = 64 : i64, llvm.byval = !llvm.array<128 x i8>, nvvm.grid_constant}
// L3-SAME: nvvm.kernel, nvvm.maxntid = array<i32: 384>, nvvm.minctasm = 1 : i32
// L3-SAME: sparseattn_nv.shared_bytes = 231504 : i32
// L3: nvvm.setmaxregister decrease 24
// L3: nvvm.setmaxregister increase 240
// L3-NOT: sparseattn_nv.{{[a-z]}}
//
// PTX: gpu.binary @kernels
// PTX-SAME: .visible .entry attention(
// PTX-SAME: .maxntid 384
// PTX-SAME: setmaxnreg.dec.sync.aligned.u32

!queries = !sparseattn_nv.channel<128x128xbf16, stages = 1>
!keys = !sparseattn_nv.channel<176x128xbf16, stages = 2>
!tile_k = !sparseattn_nv.tile<176x128xbf16>
!tile_q = !sparseattn_nv.tile<64x128xbf16, pitch = 128>
!s = tensor<64x176xf32, #sparseattn_nv.acc>
!p = tensor<64x176xbf16, #sparseattn_nv.acc>
!operand = tensor<64x176xbf16, #sparseattn_nv.operand>
!o = tensor<64x128xf32, #sparseattn_nv.acc>
!row = tensor<64xf32, #sparseattn_nv.row>
!irow = tensor<64xi32, #sparseattn_nv.row>
!sum = tensor<64xf32, #sparseattn_nv.row_partial>

gpu.module @kernels [#nvvm.target<O = 3, chip = "sm_90a", features = "+ptx88">] {
  // out[batch, head, row, feature] = strides in elements; lse[batch, head, row] contiguous. %scale_log2 is the
  // softmax scale times log2 e. The grid is (query tiles, heads, batch) flattened, tiles innermost; query head h
  // reads KV head h / %group.
  gpu.func @attention(%map_q: !sparseattn_nv.tensor_map, %map_k: !sparseattn_nv.tensor_map,
                      %map_v: !sparseattn_nv.tensor_map, %out: !llvm.ptr<1>, %lse: !llvm.ptr<1>, %scale_log2: f32,
                      %nq: i32, %nk: i32, %heads: i32, %group: i32,
                      %batch_stride: i64, %head_stride: i64, %row_stride: i64) kernel {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c64 = arith.constant 64 : i32
    %c127 = arith.constant 127 : i32
    %c128 = arith.constant 128 : i32
    %c175 = arith.constant 175 : i32
    %c176 = arith.constant 176 : i32

    // Which tile this block computes.
    %block = gpu.block_id x
    %id = arith.index_cast %block : index to i32
    %nq_up = arith.addi %nq, %c127 : i32
    %tiles = arith.divui %nq_up, %c128 : i32
    %tile = arith.remui %id, %tiles : i32
    %bh = arith.divui %id, %tiles : i32
    %head = arith.remui %bh, %heads : i32
    %batch = arith.divui %bh, %heads : i32
    %kv_head = arith.divui %head, %group : i32
    %row0 = arith.muli %tile, %c128 : i32
    %nk_up = arith.addi %nk, %c175 : i32
    %blocks = arith.divui %nk_up, %c176 : i32
    %last = arith.subi %blocks, %c1 : i32

    %q_ch = sparseattn_nv.channel "query" : !queries
    %k_ch = sparseattn_nv.channel "key" : !keys
    %v_ch = sparseattn_nv.channel "value" : !keys

    sparseattn_nv.specialize producer registers(24) {
      // Item i of both channels is block last - i. K runs one item ahead of V, as the consumers do.
      %first = arith.muli %last, %c176 : i32
      sparseattn_nv.fill %k_ch[%c0] from %map_k[%c0, %first, %c0, %kv_head, %batch] : !keys
      sparseattn_nv.fill %q_ch[%c0] from %map_q[%c0, %row0, %c0, %head, %batch] : !queries
      scf.for %i = %c1 to %blocks step %c1 : i32 {
        %before = arith.subi %i, %c1 : i32
        %b = arith.subi %last, %i : i32
        %k_row = arith.muli %b, %c176 : i32
        %v_row = arith.addi %k_row, %c176 : i32
        sparseattn_nv.fill %k_ch[%i] from %map_k[%c0, %k_row, %c0, %kv_head, %batch] : !keys
        sparseattn_nv.fill %v_ch[%before] from %map_v[%c0, %v_row, %c0, %kv_head, %batch] : !keys
      }
      sparseattn_nv.fill %v_ch[%last] from %map_v[%c0, %c0, %c0, %kv_head, %batch] : !keys
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
      %scale = tensor.splat %scale_log2 : !s
      %scale_row = tensor.splat %scale_log2 : !row
      %minus_inf = arith.constant dense<0xFF800000> : !row
      %zero_row = arith.constant dense<0.0> : !row
      %one_row = arith.constant dense<1.0> : !row
      %zero_o = arith.constant dense<0.0> : !o

      %q_all = sparseattn_nv.await %q_ch[%c0] : !queries
      %wg_row = arith.muli %wg, %c64 : i32
      %q = sparseattn_nv.subtile %q_all[%wg_row] : !sparseattn_nv.tile<128x128xbf16> -> !tile_q

      // The first block, the only one that may end past the keys.
      %k0 = sparseattn_nv.await %k_ch[%c0] : !keys
      %s0_pending = sparseattn_nv.dot %q, %k0 transpose_b : !tile_q, !tile_k
      %s0_all = sparseattn_nv.wait %s0_pending outstanding(0) : !sparseattn_nv.pending<!s>
      sparseattn_nv.release %k_ch[%c0] : !keys
      %column = arith.muli %last, %c176 : i32
      %end = tensor.splat %nk : !irow
      %s0 = sparseattn_nv.mask %s0_all at(%column) end(%end : !irow) : !s
      %m0 = sparseattn_nv.reduce max %s0 : !s
      // A row that sees no key of the block keeps its maximum of -inf; its weights are exp2(-inf - 0) = 0.
      %empty0 = arith.cmpf oeq, %m0, %minus_inf : !row
      %g0 = arith.select %empty0, %zero_row, %m0 : tensor<64xi1, #sparseattn_nv.row>, !row
      %gc0 = arith.mulf %g0, %scale_row : !row
      %bias0 = arith.negf %gc0 : !row
      %bias0_wide = sparseattn_nv.broadcast %bias0 : !row -> !s
      %t0 = math.fma %s0, %scale, %bias0_wide : !s
      %w0 = math.exp2 %t0 : !s
      %l0 = sparseattn_nv.reduce add %w0 partial : !s
      %p0_half = arith.truncf %w0 : !s to !p
      %p0 = sparseattn_nv.to_operand %p0_half : !p

      // Issue S of block i and O of block i - 1; the softmax of block i runs under the latter.
      %m, %l, %o, %p = scf.for %i = %c1 to %blocks step %c1
          iter_args(%m_old = %m0, %l_old = %l0, %o_old = %zero_o, %p_old = %p0) -> (!row, !sum, !o, !operand) : i32 {
        %before = arith.subi %i, %c1 : i32
        %k = sparseattn_nv.await %k_ch[%i] : !keys
        %s_pending = sparseattn_nv.dot %q, %k transpose_b : !tile_q, !tile_k
        %v = sparseattn_nv.await %v_ch[%before] : !keys
        %o_pending = sparseattn_nv.dot %p_old, %v acc(%o_old : !o) : !operand, !tile_k
        %si = sparseattn_nv.wait %s_pending outstanding(1) : !sparseattn_nv.pending<!s>
        sparseattn_nv.release %k_ch[%i] : !keys
        %block_max = sparseattn_nv.reduce max %si : !s
        %m_new = arith.maxnumf %m_old, %block_max : !row
        %is_empty = arith.cmpf oeq, %m_new, %minus_inf : !row
        %g = arith.select %is_empty, %zero_row, %m_new : tensor<64xi1, #sparseattn_nv.row>, !row
        %fall = arith.subf %m_old, %g : !row
        %fall_scaled = arith.mulf %fall, %scale_row : !row
        %a = math.exp2 %fall_scaled : !row
        %gc = arith.mulf %g, %scale_row : !row
        %bias = arith.negf %gc : !row
        %bias_wide = sparseattn_nv.broadcast %bias : !row -> !s
        %t = math.fma %si, %scale, %bias_wide : !s
        %w = math.exp2 %t : !s
        %l_block = sparseattn_nv.reduce add %w partial : !s
        %l_scaled = sparseattn_nv.scale %l_old, %a : !sum, !row
        %l_new = arith.addf %l_scaled, %l_block : !sum
        // P is packed after the wait: before it, the assembler would serialise the products.
        %o_done = sparseattn_nv.wait %o_pending outstanding(0) : !sparseattn_nv.pending<!o>
        sparseattn_nv.release %v_ch[%before] : !keys
        %p_half = arith.truncf %w : !s to !p
        %p_new = sparseattn_nv.to_operand %p_half : !p
        %a_wide = sparseattn_nv.broadcast %a : !row -> !o
        %o_new = arith.mulf %o_done, %a_wide : !o
        scf.yield %m_new, %l_new, %o_new, %p_new : !row, !sum, !o, !operand
      }

      sparseattn_nv.release %q_ch[%c0] : !queries
      %v_last = sparseattn_nv.await %v_ch[%last] : !keys
      %o_last = sparseattn_nv.dot %p, %v_last acc(%o : !o) : !operand, !tile_k
      // Row sums and log-sum-exp run under the last product. A row without keys: output 0, lse -inf.
      %l_all = sparseattn_nv.combine %l : !sum
      %has_keys = arith.cmpf ogt, %l_all, %zero_row : !row
      %inverse_any = arith.divf %one_row, %l_all : !row
      %inverse = arith.select %has_keys, %inverse_any, %zero_row : tensor<64xi1, #sparseattn_nv.row>, !row
      %log_l = math.log2 %l_all : !row
      %lse_log2 = math.fma %m, %scale_row, %log_l : !row
      %ln2 = arith.constant dense<0.693147182> : !row
      %lse_tile = arith.mulf %lse_log2, %ln2 : !row

      // Rows of this warpgroup that exist, and where they go.
      %first_row = arith.addi %row0, %wg_row : i32
      %valid = arith.subi %nq, %first_row : i32
      %first_row_64 = arith.extui %first_row : i32 to i64
      %nq_64 = arith.extui %nq : i32 to i64
      %bh_64 = arith.extui %bh : i32 to i64
      %lse_head = arith.muli %bh_64, %nq_64 : i64
      %lse_offset = arith.addi %lse_head, %first_row_64 : i64
      %lse_ptr = llvm.getelementptr %lse[%lse_offset] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, f32
      %c1_64 = arith.constant 1 : i64
      sparseattn_nv.store_rows %lse_tile, %lse_ptr stride(%c1_64) rows(%valid) : !row, !llvm.ptr<1>

      %o_end = sparseattn_nv.wait %o_last outstanding(0) : !sparseattn_nv.pending<!o>
      sparseattn_nv.release %v_ch[%last] : !keys
      %inverse_wide = sparseattn_nv.broadcast %inverse : !row -> !o
      %o_scaled = arith.mulf %o_end, %inverse_wide : !o
      %o_half = arith.truncf %o_scaled : !o to tensor<64x128xbf16, #sparseattn_nv.acc>
      %batch_64 = arith.extui %batch : i32 to i64
      %head_64 = arith.extui %head : i32 to i64
      %out_batch = arith.muli %batch_64, %batch_stride : i64
      %out_head = arith.muli %head_64, %head_stride : i64
      %out_row = arith.muli %first_row_64, %row_stride : i64
      %out_bh = arith.addi %out_batch, %out_head : i64
      %out_offset = arith.addi %out_bh, %out_row : i64
      %out_ptr = llvm.getelementptr %out[%out_offset] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, bf16
      sparseattn_nv.store_tile %o_half, %out_ptr row_stride(%row_stride) rows(%valid)
        : tensor<64x128xbf16, #sparseattn_nv.acc>, !llvm.ptr<1>
    }
    gpu.return
  }
}
