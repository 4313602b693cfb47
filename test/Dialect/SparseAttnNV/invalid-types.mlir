// RUN: sparseattn-opt %s -split-input-file -verify-diagnostics
// One declaration for each numbered constraint of an encoding or type, named after it.
// expected-error@+1 {{(E1) expected an acc tile of 64xN, N a multiple of 8 up to 256, found 64x12}}
func.func private @e1(tensor<64x12xf32, #sparseattn_nv.acc>)

// -----
// expected-error@+1 {{(E1) expected an acc tile of 64xN, N a multiple of 8 up to 256, found 128x16}}
func.func private @e1_rows(tensor<128x16xf32, #sparseattn_nv.acc>)

// -----
// expected-error@+1 {{(E1) expected an acc tile of 64xN, N a multiple of 8 up to 256, found 64x?}}
func.func private @e1_dynamic(tensor<64x?xf32, #sparseattn_nv.acc>)

// -----
// expected-error@+1 {{(E2) expected elements f32, i32, i1, bf16 or f16, found 'f64'}}
func.func private @e2(tensor<64x16xf64, #sparseattn_nv.acc>)

// -----
// expected-error@+1 {{(E3) expected an operand tile of 64xN, N a multiple of 16 up to 256, found 64x8}}
func.func private @e3(tensor<64x8xbf16, #sparseattn_nv.operand>)

// -----
// expected-error@+1 {{(E4) expected elements bf16 or f16, found 'f32'}}
func.func private @e4(tensor<64x16xf32, #sparseattn_nv.operand>)

// -----
// expected-error@+1 {{(E5) expected one value for each of 64 rows, found 32}}
func.func private @e5(tensor<32xf32, #sparseattn_nv.row>)

// -----
// expected-error@+1 {{(E6) expected elements f32, i32 or i1, found 'bf16'}}
func.func private @e6(tensor<64xbf16, #sparseattn_nv.row>)

// -----
// expected-error@+1 {{(E7) expected one value for each of 64 rows, found 64x1}}
func.func private @e7(tensor<64x1xf32, #sparseattn_nv.row_partial>)

// -----
// expected-error@+1 {{(E8) expected elements f32, found 'i32'}}
func.func private @e8(tensor<64xi32, #sparseattn_nv.row_partial>)

// -----
// expected-error@+1 {{(T1) expected elements bf16 or f16, found 'f32'}}
func.func private @t1(!sparseattn_nv.tile<64x64xf32>)

// -----
// expected-error@+1 {{(T2) expected a number of rows that is a multiple of 8 in [8, 256], found 12}}
func.func private @t2(!sparseattn_nv.tile<12x64xbf16>)

// -----
// expected-error@+1 {{(T2) expected a number of rows that is a multiple of 8 in [8, 256], found 264}}
func.func private @t2_box(!sparseattn_nv.channel<264x64xbf16, stages = 2>)

// -----
// expected-error@+1 {{(T3) expected a number of columns that is a multiple of 32 in [32, 1024], found 80}}
func.func private @t3(!sparseattn_nv.tile<64x80xbf16>)

// -----
// expected-error@+1 {{(T4) expected a pitch that is a multiple of 8 in [64, 256], found 32}}
func.func private @t4(!sparseattn_nv.tile<64x64xbf16, pitch = 32>)

// -----
// expected-error@+1 {{(T5) expected stages in [1, 32], found 0}}
func.func private @t5(!sparseattn_nv.channel<64x64xbf16, stages = 0>)

// -----
// expected-error@+1 {{(T6) expected a tensor of f32 with encoding #sparseattn_nv.acc, found 'tensor<64xf32, #sparseattn_nv.row>'}}
func.func private @t6(!sparseattn_nv.pending<tensor<64xf32, #sparseattn_nv.row>>)

// -----
// expected-error@+1 {{expected 2 dimensions, rows x columns, found 3}}
func.func private @t3_rank(!sparseattn_nv.tile<2x64x64xbf16>)
