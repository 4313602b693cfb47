// RUN: split-file %s %t
// RUN: sparseattn-opt %t/all.mlir --sparseattn-select-schedule --remarks-filter-passed=sparseattn-select-schedule --remarks-filter-missed=sparseattn-select-schedule -o %t/out 2> %t/err
// RUN: FileCheck %s --input-file=%t/out
// RUN: FileCheck %s --input-file=%t/err --check-prefix=REMARK
// RUN: sparseattn-opt %t/main.mlir --sparseattn-select-schedule="table=%t/table key-tile=32" | FileCheck %s --check-prefix=USER
// RUN: not sparseattn-opt %t/main.mlir --sparseattn-select-schedule="table=%t/broken" 2>&1 | FileCheck %s --check-prefix=BROKEN
// RUN: not sparseattn-opt %t/main.mlir --sparseattn-select-schedule="table=%t/missing" 2>&1 | FileCheck %s --check-prefix=MISSING
// RUN: not sparseattn-opt %t/main.mlir --sparseattn-select-schedule="chip=sm_100a" 2>&1 | FileCheck %s --check-prefix=CHIP
// RUN: not sparseattn-opt %t/main.mlir --sparseattn-select-schedule="key-tile=208" 2>&1 | FileCheck %s --check-prefix=BIG
// RUN: not sparseattn-opt %t/main.mlir --sparseattn-select-schedule="consumers=2" 2>&1 | FileCheck %s --check-prefix=ROWS
// RUN: not sparseattn-opt %t/main.mlir --sparseattn-select-schedule="key-tile=40" 2>&1 | FileCheck %s --check-prefix=DEPTH

// USER: schedule = #sparseattn.schedule<query_tile = 64, key_tile = 32, consumers = 1, order = heaviest_first>
// BROKEN: broken:2: expected a mask kind (full, causal, window, mixed, blocks) or *, found 'diagonal'
// MISSING: error: sparseattn-select-schedule: cannot read '{{.*}}missing'
// CHIP: error: sparseattn-select-schedule: there is no table for chip 'sm_100a', only for sm_90a
// BIG: error: 'sparseattn.attention' op does not fit with #sparseattn.schedule<query_tile = 192, key_tile = 208, consumers = 3, stages = 3, producer_registers = 32, consumer_registers = 160, order = heaviest_first, ping_pong = true> (head dimensions 128 and 128, causal)
// BIG: note: shared memory (bytes): 368896 of 232448, too much; (192*128 + 3*208*(128+128))*2 + 256
// BIG: note: registers of a consumer thread: 250 of 160, too much; 208/2 + 128/2 + 208/4 + 30
// BIG: note: registers of all warpgroups: 65536 of 65536; (32 + 3*160)*128
// BIG: note: choose a smaller key_tile, or fewer stages
// ROWS: error: 'sparseattn.attention' op has no schedule: query_tile is 192; 2 consumers compute 128 rows
// DEPTH: error: 'sparseattn.attention' op has no schedule: key_tile is 40; wgmma takes multiples of 16 up to 256

//--- all.mlir
// REMARK: remark: [Passed] attention | Category:sparseattn-select-schedule | Function=causal_128 | Reason="#sparseattn.schedule<query_tile = 192, key_tile = 80, consumers = 3, stages = 3, producer_registers = 32, consumer_registers = 160, order = heaviest_first, ping_pong = true>: head dimensions 128 and 128, causal; built-in table"
// CHECK-LABEL: func.func @causal_128
// CHECK: schedule = #sparseattn.schedule<query_tile = 192, key_tile = 80, consumers = 3, stages = 3, producer_registers = 32, consumer_registers = 160, order = heaviest_first, ping_pong = true>
func.func @causal_128(%q: tensor<1x8x?x128xbf16>) -> tensor<1x8x?x128xbf16> {
  %o = sparseattn.attention %q, %q, %q keys(#sparseattn.causal)
    : (tensor<1x8x?x128xbf16>, tensor<1x8x?x128xbf16>, tensor<1x8x?x128xbf16>) -> tensor<1x8x?x128xbf16>
  return %o : tensor<1x8x?x128xbf16>
}

// CHECK-LABEL: func.func @full_128
// CHECK: schedule = #sparseattn.schedule<query_tile = 192, key_tile = 80, consumers = 3, stages = 3, producer_registers = 32, consumer_registers = 160, ping_pong = true>
func.func @full_128(%q: tensor<1x8x?x128xf16>) -> tensor<1x8x?x128xf16> {
  %o = sparseattn.attention %q, %q, %q keys(#sparseattn.full)
    : (tensor<1x8x?x128xf16>, tensor<1x8x?x128xf16>, tensor<1x8x?x128xf16>) -> tensor<1x8x?x128xf16>
  return %o : tensor<1x8x?x128xf16>
}

// One loop for partial and full blocks.
// CHECK-LABEL: func.func @causal_256
// CHECK: schedule = #sparseattn.schedule<query_tile = 128, key_tile = 64, order = heaviest_first, ping_pong = true, guard_masks = true>
func.func @causal_256(%q: tensor<1x8x?x256xbf16>) -> tensor<1x8x?x256xbf16> {
  %o = sparseattn.attention %q, %q, %q keys(#sparseattn.causal)
    : (tensor<1x8x?x256xbf16>, tensor<1x8x?x256xbf16>, tensor<1x8x?x256xbf16>) -> tensor<1x8x?x256xbf16>
  return %o : tensor<1x8x?x256xbf16>
}

// Where sequences are packed, registers do not suffice for that.
// REMARK: Function=packed_256 | Reason="#sparseattn.schedule<query_tile = 128, key_tile = 64, {{.*}}, ping_pong = true>: head dimensions 256 and 256, causal; built-in table; masks in loops of their own leave registers for packed sequences"
// CHECK-LABEL: func.func @packed_256
// CHECK-NOT: guard_masks
func.func @packed_256(%q: tensor<?x8x256xbf16>, %starts: tensor<?xi32>) -> tensor<?x8x256xbf16> {
  %o = sparseattn.attention %q, %q, %q keys(#sparseattn.causal) cu_seqlens(%starts, %starts) layout(thd)
    : (tensor<?x8x256xbf16>, tensor<?x8x256xbf16>, tensor<?x8x256xbf16>, tensor<?xi32>, tensor<?xi32>) -> tensor<?x8x256xbf16>
  return %o : tensor<?x8x256xbf16>
}

// CHECK-LABEL: func.func @window_64
// CHECK: schedule = #sparseattn.schedule<query_tile = 192, key_tile = 112, consumers = 3, producer_registers = 32, consumer_registers = 160>
func.func @window_64(%q: tensor<1x8x?x64xbf16>) -> tensor<1x8x?x64xbf16> {
  %o = sparseattn.attention %q, %q, %q keys(#sparseattn.window<100>)
    : (tensor<1x8x?x64xbf16>, tensor<1x8x?x64xbf16>, tensor<1x8x?x64xbf16>) -> tensor<1x8x?x64xbf16>
  return %o : tensor<1x8x?x64xbf16>
}

// REMARK: Function=mixed_256 | Reason="{{.*}}: head dimensions 256 and 256, mixed; built-in table"
// CHECK-LABEL: func.func @mixed_256
// CHECK: schedule = #sparseattn.schedule<query_tile = 128, key_tile = 64, order = heaviest_first>
func.func @mixed_256(%q: tensor<1x2x?x256xbf16>) -> tensor<1x2x?x256xbf16> {
  %o = sparseattn.attention %q, %q, %q keys(#sparseattn.head_table<[#sparseattn.causal, #sparseattn.window<9>]>)
    : (tensor<1x2x?x256xbf16>, tensor<1x2x?x256xbf16>, tensor<1x2x?x256xbf16>) -> tensor<1x2x?x256xbf16>
  return %o : tensor<1x2x?x256xbf16>
}

// How many heads there are may be known from the table only.
// REMARK: Function=mixed_heads | Reason="{{.*}}: head dimensions 256 and 256, mixed; built-in table"
// CHECK-LABEL: func.func @mixed_heads
// CHECK: schedule = #sparseattn.schedule<query_tile = 128, key_tile = 64, order = heaviest_first>
func.func @mixed_heads(%q: tensor<?x?x?x256xbf16>) -> tensor<?x?x?x256xbf16> {
  %o = sparseattn.attention %q, %q, %q keys(#sparseattn.head_table<[#sparseattn.full, #sparseattn.window<9>]>)
    : (tensor<?x?x?x256xbf16>, tensor<?x?x?x256xbf16>, tensor<?x?x?x256xbf16>) -> tensor<?x?x?x256xbf16>
  return %o : tensor<?x?x?x256xbf16>
}

// Ranges of keys in memory take 8 registers of a thread, which 160 do not have beside tiles of 128 keys.
// REMARK: Function=ranges_64 | Reason="#sparseattn.schedule<query_tile = 192, key_tile = 112, {{.*}}: head dimensions 64 and 64, full; built-in table; key_tile leaves registers for ranges of keys, sink or offset"
// CHECK-LABEL: func.func @ranges_64
// CHECK: schedule = #sparseattn.schedule<query_tile = 192, key_tile = 112, consumers = 3, stages = 3, producer_registers = 32, consumer_registers = 160, ping_pong = true>
func.func @ranges_64(%q: tensor<1x8x?x64xbf16>, %range: tensor<1x?x2xi32>) -> tensor<1x8x?x64xbf16> {
  %o = sparseattn.attention %q, %q, %q keys(#sparseattn.full) valid_range(%range)
    : (tensor<1x8x?x64xbf16>, tensor<1x8x?x64xbf16>, tensor<1x8x?x64xbf16>, tensor<1x?x2xi32>) -> tensor<1x8x?x64xbf16>
  return %o : tensor<1x8x?x64xbf16>
}

// CHECK-LABEL: func.func @latent
// CHECK: schedule = #sparseattn.schedule<query_tile = 128, key_tile = 128, order = heaviest_first>
func.func @latent(%q: tensor<1x8x?x192xbf16>, %v: tensor<1x8x?x128xbf16>) -> tensor<1x8x?x128xbf16> {
  %o = sparseattn.attention %q, %q, %v keys(#sparseattn.causal)
    : (tensor<1x8x?x192xbf16>, tensor<1x8x?x192xbf16>, tensor<1x8x?x128xbf16>) -> tensor<1x8x?x128xbf16>
  return %o : tensor<1x8x?x128xbf16>
}

// REMARK: Function=blocks_of_64 | Reason="{{.*}}, blocks; built-in table; key_tile divides blocks of 64"
// CHECK-LABEL: func.func @blocks_of_64
// CHECK: schedule = #sparseattn.schedule<query_tile = 128, key_tile = 64, order = heaviest_first>
func.func @blocks_of_64(%q: tensor<1x8x256x128xbf16>, %list: tensor<1x8x2x4xi32>) -> tensor<1x8x256x128xbf16> {
  %o = sparseattn.sparse_attention %q, %q, %q selection(%list) block 64 query_block 128 keys(#sparseattn.causal)
    : (tensor<1x8x256x128xbf16>, tensor<1x8x256x128xbf16>, tensor<1x8x256x128xbf16>, tensor<1x8x2x4xi32>) -> tensor<1x8x256x128xbf16>
  return %o : tensor<1x8x256x128xbf16>
}

// REMARK: Function=own | Reason="{{.*}}: the operation has it"
// CHECK-LABEL: func.func @own
// CHECK: schedule = #sparseattn.schedule<query_tile = 64, key_tile = 32, consumers = 1>
func.func @own(%q: tensor<1x8x?x128xbf16>) -> tensor<1x8x?x128xbf16> {
  %o = sparseattn.attention %q, %q, %q keys(#sparseattn.causal) {schedule = #sparseattn.schedule<query_tile = 64, key_tile = 32, consumers = 1>}
    : (tensor<1x8x?x128xbf16>, tensor<1x8x?x128xbf16>, tensor<1x8x?x128xbf16>) -> tensor<1x8x?x128xbf16>
  return %o : tensor<1x8x?x128xbf16>
}

// REMARK: remark: [Missed] attention | Category:sparseattn-select-schedule | Function=f32 | Reason="wgmma multiplies elements of 16 bits here, found 32 bits"
// CHECK-LABEL: func.func @f32
// CHECK-NOT: schedule
// REMARK: Function=odd | Reason="no row of the table is for head dimensions 80 and 80, causal"
// REMARK: Function=odd_long | Reason="no row of the table is for head dimensions 80 and 80, full, 9000 keys"
// CHECK-LABEL: func.func @odd
// CHECK-NOT: schedule
func.func @f32(%q: tensor<1x8x?x128xf32>) -> tensor<1x8x?x128xf32> {
  %o = sparseattn.attention %q, %q, %q keys(#sparseattn.causal)
    : (tensor<1x8x?x128xf32>, tensor<1x8x?x128xf32>, tensor<1x8x?x128xf32>) -> tensor<1x8x?x128xf32>
  return %o : tensor<1x8x?x128xf32>
}
func.func @odd(%q: tensor<1x8x?x80xbf16>) -> tensor<1x8x?x80xbf16> {
  %o = sparseattn.attention %q, %q, %q keys(#sparseattn.causal)
    : (tensor<1x8x?x80xbf16>, tensor<1x8x?x80xbf16>, tensor<1x8x?x80xbf16>) -> tensor<1x8x?x80xbf16>
  return %o : tensor<1x8x?x80xbf16>
}
func.func @odd_long(%q: tensor<1x8x9000x80xbf16>) -> tensor<1x8x9000x80xbf16> {
  %o = sparseattn.attention %q, %q, %q keys(#sparseattn.full)
    : (tensor<1x8x9000x80xbf16>, tensor<1x8x9000x80xbf16>, tensor<1x8x9000x80xbf16>) -> tensor<1x8x9000x80xbf16>
  return %o : tensor<1x8x9000x80xbf16>
}

//--- main.mlir
func.func @main(%q: tensor<1x8x?x128xbf16>) -> tensor<1x8x?x128xbf16> {
  %o = sparseattn.attention %q, %q, %q keys(#sparseattn.causal)
    : (tensor<1x8x?x128xbf16>, tensor<1x8x?x128xbf16>, tensor<1x8x?x128xbf16>) -> tensor<1x8x?x128xbf16>
  return %o : tensor<1x8x?x128xbf16>
}

//--- table
// Small tiles.
64 * * #sparseattn.schedule<query_tile = 128, key_tile = 64>
128 128 causal #sparseattn.schedule<query_tile = 64, key_tile = 64, consumers = 1, order = heaviest_first>

//--- broken
// No such mask.
128 128 diagonal #sparseattn.schedule<query_tile = 64, key_tile = 64, consumers = 1>
