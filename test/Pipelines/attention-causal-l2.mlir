// Causal forward attention at level L2, written by hand: f16, head dimension 128, tiles of 128 queries x 128 keys.
// Beside attention-l2.mlir: heaviest tiles first, and one loop over blocks that some row sees in part before one
// over blocks that every row sees.
//
// RUN: sparseattn-opt %s --sparseattn-warpgroups-to-nvvm --sparseattn-nvvm-to-ptx | FileCheck %s
//
// CHECK: .visible .entry attention(
// CHECK-SAME: wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16
// CHECK-SAME: cvt.rn.f16x2.f32

!queries = !sparseattn_nv.channel<128x128xf16, stages = 1>
!keys = !sparseattn_nv.channel<128x128xf16, stages = 2>
!tile_k = !sparseattn_nv.tile<128x128xf16>
!tile_q = !sparseattn_nv.tile<64x128xf16, pitch = 128>
!s = tensor<64x128xf32, #sparseattn_nv.acc>
!p = tensor<64x128xf16, #sparseattn_nv.acc>
!operand = tensor<64x128xf16, #sparseattn_nv.operand>
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
                      %nq: i32, %nk: i32, %batches: i32, %heads: i32, %group: i32,
                      %batch_stride: i64, %head_stride: i64, %row_stride: i64) kernel {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c64 = arith.constant 64 : i32
    %c127 = arith.constant 127 : i32
    %c128 = arith.constant 128 : i32

    // Which tile this block computes; the last tile sees most keys and comes first.
    %block = gpu.block_id x
    %id = arith.index_cast %block : index to i32
    %nq_up = arith.addi %nq, %c127 : i32
    %tiles = arith.divui %nq_up, %c128 : i32
    %sequences = arith.muli %batches, %heads : i32
    %from_end = arith.divui %id, %sequences : i32
    %bh = arith.remui %id, %sequences : i32
    %tiles_less_1 = arith.subi %tiles, %c1 : i32
    %tile = arith.subi %tiles_less_1, %from_end : i32
    %head = arith.remui %bh, %heads : i32
    %batch = arith.divui %bh, %heads : i32
    %kv_head = arith.divui %head, %group : i32
    %row0 = arith.muli %tile, %c128 : i32

    // Query i stands at position nk - nq + i and sees the keys before the next position. Keys that some row of the
    // tile sees end at %hull_end, keys that every row sees at %full_end.
    %offset = arith.subi %nk, %nq : i32
    %position = arith.addi %offset, %row0 : i32
    %first_end = arith.addi %position, %c1 : i32
    %last_end_any = arith.addi %position, %c128 : i32
    %last_end = arith.minsi %last_end_any, %nk : i32
    %hull_end = arith.maxsi %last_end, %c1 : i32
    %full_end_any = arith.minsi %first_end, %nk : i32
    %full_end = arith.maxsi %full_end_any, %c0 : i32
    %hull_up = arith.addi %hull_end, %c127 : i32
    %blocks = arith.divui %hull_up, %c128 : i32
    %full_blocks = arith.divui %full_end, %c128 : i32
    %last = arith.subi %blocks, %c1 : i32
    // Item 0 is masked always.
    %masked_items = arith.subi %blocks, %full_blocks : i32
    %masked = arith.maxsi %masked_items, %c1 : i32

    %q_ch = sparseattn_nv.channel "query" : !queries
    %k_ch = sparseattn_nv.channel "key" : !keys
    %v_ch = sparseattn_nv.channel "value" : !keys

    sparseattn_nv.specialize producer registers(24) {
      // Item i of both channels is block last - i. K runs one item ahead of V, as the consumers do.
      %first = arith.muli %last, %c128 : i32
      sparseattn_nv.fill %k_ch[%c0] from %map_k[%c0, %first, %c0, %kv_head, %batch] : !keys
      sparseattn_nv.fill %q_ch[%c0] from %map_q[%c0, %row0, %c0, %head, %batch] : !queries
      scf.for %i = %c1 to %blocks step %c1 : i32 {
        %before = arith.subi %i, %c1 : i32
        %b = arith.subi %last, %i : i32
        %k_row = arith.muli %b, %c128 : i32
        %v_row = arith.addi %k_row, %c128 : i32
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
      %q = sparseattn_nv.subtile %q_all[%wg_row] : !sparseattn_nv.tile<128x128xf16> -> !tile_q

      %rows = sparseattn_nv.rows : !irow
      %wg_position = arith.addi %first_end, %wg_row : i32
      %wg_position_row = tensor.splat %wg_position : !irow
      %end_any = arith.addi %wg_position_row, %rows : !irow
      %nk_row = tensor.splat %nk : !irow
      %end = arith.minsi %end_any, %nk_row : !irow

      %k0 = sparseattn_nv.await %k_ch[%c0] : !keys
      %s0_pending = sparseattn_nv.dot %q, %k0 transpose_b : !tile_q, !tile_k
      %s0_all = sparseattn_nv.wait %s0_pending outstanding(0) : !sparseattn_nv.pending<!s>
      sparseattn_nv.release %k_ch[%c0] : !keys
      %column = arith.muli %last, %c128 : i32
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

      // Blocks that some row sees in part.
      %m1, %l1, %o1, %p1 = scf.for %i1 = %c1 to %masked step %c1
          iter_args(%m_old1 = %m0, %l_old1 = %l0, %o_old1 = %zero_o, %p_old1 = %p0) -> (!row, !sum, !o, !operand) : i32 {
        %before1 = arith.subi %i1, %c1 : i32
        %k1 = sparseattn_nv.await %k_ch[%i1] : !keys
        %s_pending1 = sparseattn_nv.dot %q, %k1 transpose_b : !tile_q, !tile_k
        %v1 = sparseattn_nv.await %v_ch[%before1] : !keys
        %o_pending1 = sparseattn_nv.dot %p_old1, %v1 acc(%o_old1 : !o) : !operand, !tile_k
        %s_all1 = sparseattn_nv.wait %s_pending1 outstanding(1) : !sparseattn_nv.pending<!s>
        sparseattn_nv.release %k_ch[%i1] : !keys
        %b1 = arith.subi %last, %i1 : i32
        %column1 = arith.muli %b1, %c128 : i32
        %si1 = sparseattn_nv.mask %s_all1 at(%column1) end(%end : !irow) : !s
        %block_max1 = sparseattn_nv.reduce max %si1 : !s
        %m_new1 = arith.maxnumf %m_old1, %block_max1 : !row
        %is_empty1 = arith.cmpf oeq, %m_new1, %minus_inf : !row
        %g1 = arith.select %is_empty1, %zero_row, %m_new1 : tensor<64xi1, #sparseattn_nv.row>, !row
        %fall1 = arith.subf %m_old1, %g1 : !row
        %fall_scaled1 = arith.mulf %fall1, %scale_row : !row
        %a1 = math.exp2 %fall_scaled1 : !row
        %gc1 = arith.mulf %g1, %scale_row : !row
        %bias1 = arith.negf %gc1 : !row
        %bias_wide1 = sparseattn_nv.broadcast %bias1 : !row -> !s
        %t1 = math.fma %si1, %scale, %bias_wide1 : !s
        %w1 = math.exp2 %t1 : !s
        %l_block1 = sparseattn_nv.reduce add %w1 partial : !s
        %l_scaled1 = sparseattn_nv.scale %l_old1, %a1 : !sum, !row
        %l_new1 = arith.addf %l_scaled1, %l_block1 : !sum
        %o_done1 = sparseattn_nv.wait %o_pending1 outstanding(0) : !sparseattn_nv.pending<!o>
        sparseattn_nv.release %v_ch[%before1] : !keys
        %p_half1 = arith.truncf %w1 : !s to !p
        %p_new1 = sparseattn_nv.to_operand %p_half1 : !p
        %a_wide1 = sparseattn_nv.broadcast %a1 : !row -> !o
        %o_new1 = arith.mulf %o_done1, %a_wide1 : !o
        scf.yield %m_new1, %l_new1, %o_new1, %p_new1 : !row, !sum, !o, !operand
      }
      // Blocks that every row sees.
      %m, %l, %o, %p = scf.for %i2 = %masked to %blocks step %c1
          iter_args(%m_old2 = %m1, %l_old2 = %l1, %o_old2 = %o1, %p_old2 = %p1) -> (!row, !sum, !o, !operand) : i32 {
        %before2 = arith.subi %i2, %c1 : i32
        %k2 = sparseattn_nv.await %k_ch[%i2] : !keys
        %s_pending2 = sparseattn_nv.dot %q, %k2 transpose_b : !tile_q, !tile_k
        %v2 = sparseattn_nv.await %v_ch[%before2] : !keys
        %o_pending2 = sparseattn_nv.dot %p_old2, %v2 acc(%o_old2 : !o) : !operand, !tile_k
        %s_all2 = sparseattn_nv.wait %s_pending2 outstanding(1) : !sparseattn_nv.pending<!s>
        sparseattn_nv.release %k_ch[%i2] : !keys
        %block_max2 = sparseattn_nv.reduce max %s_all2 : !s
        %m_new2 = arith.maxnumf %m_old2, %block_max2 : !row
        %is_empty2 = arith.cmpf oeq, %m_new2, %minus_inf : !row
        %g2 = arith.select %is_empty2, %zero_row, %m_new2 : tensor<64xi1, #sparseattn_nv.row>, !row
        %fall2 = arith.subf %m_old2, %g2 : !row
        %fall_scaled2 = arith.mulf %fall2, %scale_row : !row
        %a2 = math.exp2 %fall_scaled2 : !row
        %gc2 = arith.mulf %g2, %scale_row : !row
        %bias2 = arith.negf %gc2 : !row
        %bias_wide2 = sparseattn_nv.broadcast %bias2 : !row -> !s
        %t2 = math.fma %s_all2, %scale, %bias_wide2 : !s
        %w2 = math.exp2 %t2 : !s
        %l_block2 = sparseattn_nv.reduce add %w2 partial : !s
        %l_scaled2 = sparseattn_nv.scale %l_old2, %a2 : !sum, !row
        %l_new2 = arith.addf %l_scaled2, %l_block2 : !sum
        %o_done2 = sparseattn_nv.wait %o_pending2 outstanding(0) : !sparseattn_nv.pending<!o>
        sparseattn_nv.release %v_ch[%before2] : !keys
        %p_half2 = arith.truncf %w2 : !s to !p
        %p_new2 = sparseattn_nv.to_operand %p_half2 : !p
        %a_wide2 = sparseattn_nv.broadcast %a2 : !row -> !o
        %o_new2 = arith.mulf %o_done2, %a_wide2 : !o
        scf.yield %m_new2, %l_new2, %o_new2, %p_new2 : !row, !sum, !o, !operand
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
      %o_half = arith.truncf %o_scaled : !o to tensor<64x128xf16, #sparseattn_nv.acc>
      %batch_64 = arith.extui %batch : i32 to i64
      %head_64 = arith.extui %head : i32 to i64
      %out_batch = arith.muli %batch_64, %batch_stride : i64
      %out_head = arith.muli %head_64, %head_stride : i64
      %out_row = arith.muli %first_row_64, %row_stride : i64
      %out_bh = arith.addi %out_batch, %out_head : i64
      %out_offset = arith.addi %out_bh, %out_row : i64
      %out_ptr = llvm.getelementptr %out[%out_offset] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, f16
      sparseattn_nv.store_tile %o_half, %out_ptr row_stride(%row_stride) rows(%valid)
        : tensor<64x128xf16, #sparseattn_nv.acc>, !llvm.ptr<1>
    }
    gpu.return
  }
}
