// Length classes: rows for at least so many keys, which the type or the option knows.

// RUN: split-file %s %t
// RUN: sparseattn-opt %t/all.mlir --sparseattn-select-schedule --remarks-filter-passed=sparseattn-select-schedule -o %t/out 2> %t/err
// RUN: FileCheck %s --input-file=%t/out --check-prefixes=CHECK,UNKNOWN
// RUN: FileCheck %s --input-file=%t/err --check-prefix=REMARK
// RUN: sparseattn-opt %t/all.mlir --sparseattn-select-schedule=expected-keys=32767 | FileCheck %s --check-prefixes=CHECK,MIDDLE
// RUN: sparseattn-opt %t/all.mlir --sparseattn-select-schedule=expected-keys=32768 | FileCheck %s --check-prefixes=CHECK,LONG
// RUN: sparseattn-opt %t/user.mlir --sparseattn-select-schedule=table=%t/table --remarks-filter-passed=sparseattn-select-schedule 2>&1 >/dev/null | FileCheck %s --check-prefix=USER
// RUN: sparseattn-opt %t/windows.mlir --sparseattn-select-schedule=table=%t/widths | FileCheck %s --check-prefix=WINDOWS
// RUN: sparseattn-opt %t/user.mlir --sparseattn-to-nvvm=expected-keys=40000 | FileCheck %s --check-prefix=PIPELINE
// RUN: sparseattn-opt %t/user.mlir --sparseattn-to-ptx=expected-keys=40000 | FileCheck %s --check-prefix=PTX
// RUN: sparseattn-opt %t/user.mlir --sparseattn-to-nvvm=schedule-table=%t/table | FileCheck %s --check-prefix=TABLE
// RUN: sparseattn-opt %t/user.mlir --sparseattn-to-ptx='schedule-table="%t/table"' | FileCheck %s --check-prefix=TABLE-PTX
// RUN: not sparseattn-opt %t/user.mlir --sparseattn-to-nvvm=schedule-table=%t/none 2>&1 | FileCheck %s --check-prefix=NO-TABLE
// RUN: not sparseattn-opt %t/user.mlir --sparseattn-select-schedule=expected-keys=-1 2>&1 | FileCheck %s --check-prefix=NEGATIVE
// RUN: not sparseattn-opt %t/user.mlir --sparseattn-select-schedule=table=%t/zero 2>&1 | FileCheck %s --check-prefix=ZERO
// RUN: not sparseattn-opt %t/user.mlir --sparseattn-select-schedule=table=%t/greater 2>&1 | FileCheck %s --check-prefix=GREATER
// RUN: not sparseattn-opt %t/user.mlir --sparseattn-select-schedule=table=%t/kind 2>&1 | FileCheck %s --check-prefix=KIND

// NO-TABLE: error: sparseattn-select-schedule: cannot read '{{.*}}none'
// NEGATIVE: error: sparseattn-select-schedule: expected-keys is -1; expected a number of keys, or 0 where it is not known
// ZERO: zero:2: expected a length class such as full>=8192, found 'full>=0'
// GREATER: greater:1: expected a length class such as causal>=8192, found 'causal>8192'
// KIND: kind:1: expected a mask kind (full, causal, window, mixed, blocks) or *, found 'diagonal'

//--- all.mlir
// Both sides of the boundary, in each layout.
// REMARK: Function=mixed_short | Reason="{{.*}}: head dimensions 128 and 128, mixed; built-in table"
// CHECK-LABEL: func.func @mixed_short
// CHECK: schedule = #sparseattn.schedule<query_tile = 128, key_tile = 128, order = heaviest_first>
func.func @mixed_short(%q: tensor<1x2x100x128xbf16>, %k: tensor<1x2x32767x128xbf16>) -> tensor<1x2x100x128xbf16> {
  %o = sparseattn.attention %q, %k, %k keys(#sparseattn.head_table<[#sparseattn.causal, #sparseattn.window<1024>]>)
    : (tensor<1x2x100x128xbf16>, tensor<1x2x32767x128xbf16>, tensor<1x2x32767x128xbf16>) -> tensor<1x2x100x128xbf16>
  return %o : tensor<1x2x100x128xbf16>
}

// REMARK: Function=mixed_long | Reason="#sparseattn.schedule<query_tile = 192, key_tile = 80, consumers = 3, producer_registers = 32, consumer_registers = 160, order = heaviest_first, ping_pong = true>: head dimensions 128 and 128, mixed, at least 32768 keys; built-in table"
// CHECK-LABEL: func.func @mixed_long
// CHECK: schedule = #sparseattn.schedule<query_tile = 192, key_tile = 80, consumers = 3, producer_registers = 32, consumer_registers = 160, order = heaviest_first, ping_pong = true>
func.func @mixed_long(%q: tensor<1x2x100x128xbf16>, %k: tensor<1x2x32768x128xbf16>) -> tensor<1x2x100x128xbf16> {
  %o = sparseattn.attention %q, %k, %k keys(#sparseattn.head_table<[#sparseattn.causal, #sparseattn.window<1024>]>)
    : (tensor<1x2x100x128xbf16>, tensor<1x2x32768x128xbf16>, tensor<1x2x32768x128xbf16>) -> tensor<1x2x100x128xbf16>
  return %o : tensor<1x2x100x128xbf16>
}

// CHECK-LABEL: func.func @bshd_short
// CHECK: query_tile = 128, key_tile = 128
func.func @bshd_short(%q: tensor<1x32767x2x128xbf16>) -> tensor<1x32767x2x128xbf16> {
  %o = sparseattn.attention %q, %q, %q keys(#sparseattn.head_table<[#sparseattn.causal, #sparseattn.window<1024>]>) layout(bshd)
    : (tensor<1x32767x2x128xbf16>, tensor<1x32767x2x128xbf16>, tensor<1x32767x2x128xbf16>) -> tensor<1x32767x2x128xbf16>
  return %o : tensor<1x32767x2x128xbf16>
}

// CHECK-LABEL: func.func @bshd_long
// CHECK: query_tile = 192, key_tile = 80
func.func @bshd_long(%q: tensor<1x32768x2x128xbf16>) -> tensor<1x32768x2x128xbf16> {
  %o = sparseattn.attention %q, %q, %q keys(#sparseattn.head_table<[#sparseattn.causal, #sparseattn.window<1024>]>) layout(bshd)
    : (tensor<1x32768x2x128xbf16>, tensor<1x32768x2x128xbf16>, tensor<1x32768x2x128xbf16>) -> tensor<1x32768x2x128xbf16>
  return %o : tensor<1x32768x2x128xbf16>
}

// The type does not say how long the documents in it are; the option does.
// CHECK-LABEL: func.func @packed_documents
// UNKNOWN: query_tile = 128, key_tile = 128
// MIDDLE: query_tile = 128, key_tile = 128
// LONG: query_tile = 192, key_tile = 64
func.func @packed_documents(%q: tensor<40000x2x128xbf16>, %starts: tensor<?xi32>) -> tensor<40000x2x128xbf16> {
  %o = sparseattn.attention %q, %q, %q keys(#sparseattn.head_table<[#sparseattn.causal, #sparseattn.window<1024>]>) cu_seqlens(%starts, %starts) layout(thd)
    : (tensor<40000x2x128xbf16>, tensor<40000x2x128xbf16>, tensor<40000x2x128xbf16>, tensor<?xi32>, tensor<?xi32>) -> tensor<40000x2x128xbf16>
  return %o : tensor<40000x2x128xbf16>
}

// CHECK-LABEL: func.func @ranges
// UNKNOWN: query_tile = 128, key_tile = 128
// MIDDLE: query_tile = 128, key_tile = 128
// LONG: query_tile = 192, key_tile = 64
func.func @ranges(%q: tensor<1x2x40000x128xbf16>, %range: tensor<1x40000x2xi32>) -> tensor<1x2x40000x128xbf16> {
  %o = sparseattn.attention %q, %q, %q keys(#sparseattn.head_table<[#sparseattn.causal, #sparseattn.window<1024>]>) valid_range(%range)
    : (tensor<1x2x40000x128xbf16>, tensor<1x2x40000x128xbf16>, tensor<1x2x40000x128xbf16>, tensor<1x40000x2xi32>) -> tensor<1x2x40000x128xbf16>
  return %o : tensor<1x2x40000x128xbf16>
}

// CHECK-LABEL: func.func @dynamic
// UNKNOWN: query_tile = 128, key_tile = 128
// MIDDLE: query_tile = 128, key_tile = 128
// LONG: query_tile = 192, key_tile = 80
func.func @dynamic(%q: tensor<1x2x?x128xbf16>) -> tensor<1x2x?x128xbf16> {
  %o = sparseattn.attention %q, %q, %q keys(#sparseattn.head_table<[#sparseattn.causal, #sparseattn.window<1024>]>)
    : (tensor<1x2x?x128xbf16>, tensor<1x2x?x128xbf16>, tensor<1x2x?x128xbf16>) -> tensor<1x2x?x128xbf16>
  return %o : tensor<1x2x?x128xbf16>
}

// The type knows better than the option.
// CHECK-LABEL: func.func @static
// CHECK: query_tile = 128, key_tile = 128
func.func @static(%q: tensor<1x2x100x128xbf16>) -> tensor<1x2x100x128xbf16> {
  %o = sparseattn.attention %q, %q, %q keys(#sparseattn.head_table<[#sparseattn.causal, #sparseattn.window<1024>]>)
    : (tensor<1x2x100x128xbf16>, tensor<1x2x100x128xbf16>, tensor<1x2x100x128xbf16>) -> tensor<1x2x100x128xbf16>
  return %o : tensor<1x2x100x128xbf16>
}

// Other masks and head dimensions have one class.
// CHECK-LABEL: func.func @blocks
// CHECK: query_tile = 128, key_tile = 128
func.func @blocks(%q: tensor<1x8x20480x128xbf16>, %list: tensor<1x8x160x4xi32>) -> tensor<1x8x20480x128xbf16> {
  %o = sparseattn.sparse_attention %q, %q, %q selection(%list) block 128 query_block 128 keys(#sparseattn.causal)
    : (tensor<1x8x20480x128xbf16>, tensor<1x8x20480x128xbf16>, tensor<1x8x20480x128xbf16>, tensor<1x8x160x4xi32>) -> tensor<1x8x20480x128xbf16>
  return %o : tensor<1x8x20480x128xbf16>
}

// CHECK-LABEL: func.func @dim_64
// CHECK: query_tile = 192, key_tile = 128
func.func @dim_64(%q: tensor<1x8x20000x64xbf16>) -> tensor<1x8x20000x64xbf16> {
  %o = sparseattn.attention %q, %q, %q keys(#sparseattn.full)
    : (tensor<1x8x20000x64xbf16>, tensor<1x8x20000x64xbf16>, tensor<1x8x20000x64xbf16>) -> tensor<1x8x20000x64xbf16>
  return %o : tensor<1x8x20000x64xbf16>
}

//--- windows.mlir
// The width of a window counts, whatever the length; of several, that of the widest.
// WINDOWS-LABEL: func.func @windows
// WINDOWS: query_tile = 64, key_tile = 64
// WINDOWS: query_tile = 64, key_tile = 32
// WINDOWS: query_tile = 64, key_tile = 32
func.func @windows(%q: tensor<1x2x?x128xbf16>) -> (tensor<1x2x?x128xbf16>, tensor<1x2x?x128xbf16>, tensor<1x2x?x128xbf16>) {
  %narrow = sparseattn.attention %q, %q, %q keys(#sparseattn.window<4095>)
    : (tensor<1x2x?x128xbf16>, tensor<1x2x?x128xbf16>, tensor<1x2x?x128xbf16>) -> tensor<1x2x?x128xbf16>
  %wide = sparseattn.attention %q, %q, %q keys(#sparseattn.window<4096>)
    : (tensor<1x2x?x128xbf16>, tensor<1x2x?x128xbf16>, tensor<1x2x?x128xbf16>) -> tensor<1x2x?x128xbf16>
  %both = sparseattn.attention %q, %q, %q keys(#sparseattn.head_table<[#sparseattn.window<100>, #sparseattn.window<5000>]>)
    : (tensor<1x2x?x128xbf16>, tensor<1x2x?x128xbf16>, tensor<1x2x?x128xbf16>) -> tensor<1x2x?x128xbf16>
  return %narrow, %wide, %both : tensor<1x2x?x128xbf16>, tensor<1x2x?x128xbf16>, tensor<1x2x?x128xbf16>
}

//--- user.mlir
// USER: Function=known | Reason="{{.*}}key_tile = 32{{.*}}: head dimensions 128 and 128, mixed, at least 300 keys; row 1 of {{.*}}table"
func.func @known(%q: tensor<1x2x300x128xbf16>) -> tensor<1x2x300x128xbf16> {
  %o = sparseattn.attention %q, %q, %q keys(#sparseattn.head_table<[#sparseattn.causal, #sparseattn.window<1024>]>)
    : (tensor<1x2x300x128xbf16>, tensor<1x2x300x128xbf16>, tensor<1x2x300x128xbf16>) -> tensor<1x2x300x128xbf16>
  return %o : tensor<1x2x300x128xbf16>
}

// USER: Function=open | Reason="{{.*}}key_tile = 64{{.*}}: head dimensions 128 and 128, mixed; row 2 of {{.*}}table"
// PIPELINE: gpu.module
// PIPELINE: nvvm.maxntid = array<i32: 384>
// PIPELINE: nvvm.maxntid = array<i32: 512>
// PTX: .maxntid 384
// PTX: .maxntid 512
// TABLE-COUNT-2: nvvm.maxntid = array<i32: 256>
// TABLE-PTX-COUNT-2: .maxntid 256
func.func @open(%q: tensor<1x2x?x128xbf16>) -> tensor<1x2x?x128xbf16> {
  %o = sparseattn.attention %q, %q, %q keys(#sparseattn.head_table<[#sparseattn.causal, #sparseattn.window<1024>]>)
    : (tensor<1x2x?x128xbf16>, tensor<1x2x?x128xbf16>, tensor<1x2x?x128xbf16>) -> tensor<1x2x?x128xbf16>
  return %o : tensor<1x2x?x128xbf16>
}

//--- table
// A class, and the others.
* * mixed>=300 #sparseattn.schedule<query_tile = 64, key_tile = 32, consumers = 1>
* * * #sparseattn.schedule<query_tile = 64, key_tile = 64, consumers = 1>

//--- widths
* * window>=4096 #sparseattn.schedule<query_tile = 64, key_tile = 32, consumers = 1>
* * * #sparseattn.schedule<query_tile = 64, key_tile = 64, consumers = 1>

//--- zero
// No length.
* * full>=0 #sparseattn.schedule<query_tile = 64, key_tile = 32, consumers = 1>

//--- greater
* * causal>8192 #sparseattn.schedule<query_tile = 64, key_tile = 32, consumers = 1>

//--- kind
* * diagonal>=8192 #sparseattn.schedule<query_tile = 64, key_tile = 32, consumers = 1>
