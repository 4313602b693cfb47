// RUN: sparseattn-opt %s --sparseattn-nv-verify-channels -split-input-file -verify-diagnostics
// The attention loop, right and with one change each.

!keys = !sparseattn_nv.channel<128x64xbf16, stages = 2>
gpu.module @kernels {
  gpu.func @right(%map: !sparseattn_nv.tensor_map, %nk: i32) kernel {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c127 = arith.constant 127 : i32
    %c128 = arith.constant 128 : i32
    %up = arith.addi %nk, %c127 : i32
    %n = arith.divui %up, %c128 : i32
    %last = arith.subi %n, %c1 : i32
    %k = sparseattn_nv.channel "key" : !keys
    %v = sparseattn_nv.channel "value" : !keys
    sparseattn_nv.specialize producer registers(24) {
      sparseattn_nv.fill %k[%c0] from %map[%c0, %c0, %c0] : !keys
      scf.for %i = %c1 to %n step %c1 : i32 {
        %b = arith.subi %i, %c1 : i32
        sparseattn_nv.fill %k[%i] from %map[%c0, %c0, %c0] : !keys
        sparseattn_nv.fill %v[%b] from %map[%c0, %c0, %c0] : !keys
      }
      sparseattn_nv.fill %v[%last] from %map[%c0, %c0, %c0] : !keys
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
      %k0 = sparseattn_nv.await %k[%c0] : !keys
      sparseattn_nv.release %k[%c0] : !keys
      scf.for %i = %c1 to %n step %c1 : i32 {
        %b = arith.subi %i, %c1 : i32
        %ki = sparseattn_nv.await %k[%i] : !keys
        %vi = sparseattn_nv.await %v[%b] : !keys
        sparseattn_nv.release %k[%i] : !keys
        sparseattn_nv.release %v[%b] : !keys
      }
      %vl = sparseattn_nv.await %v[%last] : !keys
      sparseattn_nv.release %v[%last] : !keys
    }
    gpu.return
  }
}

// -----
// A consumer that never releases a key stops the producer two items later, or is found at the end of a short loop.
!keys = !sparseattn_nv.channel<128x64xbf16, stages = 2>
gpu.module @kernels {
  // expected-note@+1 {{found for block 0 with arguments #1 = 1}}
  gpu.func @dropped_release(%map: !sparseattn_nv.tensor_map, %n: i32) kernel {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %k = sparseattn_nv.channel "key" : !keys
    // expected-error@+1 {{breaks the protocol of channels: consumer 0 never releases item 0 of channel key}}
    sparseattn_nv.specialize producer registers(24) {
      scf.for %i = %c0 to %n step %c1 : i32 {
        sparseattn_nv.fill %k[%i] from %map[%c0, %c0, %c0] : !keys
      }
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
      scf.for %i = %c0 to %n step %c1 : i32 {
        %t = sparseattn_nv.await %k[%i] : !keys
      }
    }
    gpu.return
  }
}

// -----
// Only the second warpgroup leaves its item, and only from the third on.
!keys = !sparseattn_nv.channel<128x64xbf16, stages = 2>
gpu.module @kernels {
  // expected-note@+1 {{found for block}}
  gpu.func @one_warpgroup(%map: !sparseattn_nv.tensor_map, %nk: i32) kernel {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c128 = arith.constant 128 : i32
    %n = arith.divui %nk, %c128 : i32
    %k = sparseattn_nv.channel "key" : !keys
    // expected-error@+1 {{breaks the protocol of channels: consumer 1 never releases item 2 of channel key}}
    sparseattn_nv.specialize producer registers(24) {
      scf.for %i = %c0 to %n step %c1 : i32 {
        sparseattn_nv.fill %k[%i] from %map[%c0, %c0, %c0] : !keys
      }
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
      %c2 = arith.constant 2 : i32
      scf.for %i = %c0 to %n step %c1 : i32 {
        %t = sparseattn_nv.await %k[%i] : !keys
        %early = arith.cmpi slt, %i, %c2 : i32
        %first = arith.cmpi eq, %wg, %c0 : i32
        %does = arith.ori %early, %first : i1
        scf.if %does {
          sparseattn_nv.release %k[%i] : !keys
        }
      }
    }
    gpu.return
  }
}

// -----
// Key and value of one position: the producer is one item ahead with keys, and both wait for each other.
!keys = !sparseattn_nv.channel<128x64xbf16, stages = 1>
gpu.module @kernels {
  // expected-note@+1 {{found for block 0 with arguments #1 = 127}}
  gpu.func @wrong_position(%map: !sparseattn_nv.tensor_map, %n: i32) kernel {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %k = sparseattn_nv.channel "key" : !keys
    %v = sparseattn_nv.channel "value" : !keys
    %last = arith.subi %n, %c1 : i32
    sparseattn_nv.specialize producer registers(24) {
      sparseattn_nv.fill %k[%c0] from %map[%c0, %c0, %c0] : !keys
      scf.for %i = %c1 to %n step %c1 : i32 {
        %b = arith.subi %i, %c1 : i32
        // expected-error@+1 {{breaks the protocol of channels: no role can go on: the producer waits for the slot of item 1 of channel key; consumer 0 waits for item 0 of channel value; consumer 1 waits for item 0 of channel value}}
        sparseattn_nv.fill %k[%i] from %map[%c0, %c0, %c0] : !keys
        sparseattn_nv.fill %v[%b] from %map[%c0, %c0, %c0] : !keys
      }
      sparseattn_nv.fill %v[%last] from %map[%c0, %c0, %c0] : !keys
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
      scf.for %i = %c0 to %n step %c1 : i32 {
        %ki = sparseattn_nv.await %k[%i] : !keys
        %vi = sparseattn_nv.await %v[%i] : !keys
        sparseattn_nv.release %k[%i] : !keys
        sparseattn_nv.release %v[%i] : !keys
      }
    }
    gpu.return
  }
}

// -----
// The consumers stop one item early.
!keys = !sparseattn_nv.channel<128x64xbf16, stages = 2>
gpu.module @kernels {
  // expected-note@+1 {{found for block 0 with arguments #1 = 1}}
  gpu.func @lost_item(%map: !sparseattn_nv.tensor_map, %n: i32) kernel {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %k = sparseattn_nv.channel "key" : !keys
    // expected-error@+1 {{breaks the protocol of channels: consumer 0 never awaits item 0 of channel key}}
    sparseattn_nv.specialize producer registers(24) {
      scf.for %i = %c0 to %n step %c1 : i32 {
        sparseattn_nv.fill %k[%i] from %map[%c0, %c0, %c0] : !keys
      }
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
      scf.for %i = %c1 to %n step %c1 : i32 {
        %b = arith.subi %i, %c1 : i32
        %t = sparseattn_nv.await %k[%b] : !keys
        sparseattn_nv.release %k[%b] : !keys
      }
    }
    gpu.return
  }
}

// -----
// A second loop that begins at item 0 again finds the parity of the first round.
!keys = !sparseattn_nv.channel<128x64xbf16, stages = 1>
gpu.module @kernels {
  // expected-note@+1 {{found for block 0 with arguments #1 = 1}}
  gpu.func @restart(%map: !sparseattn_nv.tensor_map, %n: i32) kernel {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %k = sparseattn_nv.channel "key" : !keys
    sparseattn_nv.specialize producer registers(24) {
      sparseattn_nv.fill %k[%c0] from %map[%c0, %c0, %c0] : !keys
      sparseattn_nv.fill %k[%c1] from %map[%c0, %c0, %c0] : !keys
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
      %t = sparseattn_nv.await %k[%c0] : !keys
      sparseattn_nv.release %k[%c0] : !keys
      // expected-error@+1 {{breaks the protocol of channels: consumer}}
      %again = sparseattn_nv.await %k[%c0] : !keys
      sparseattn_nv.release %k[%c0] : !keys
    }
    gpu.return
  }
}

// -----
// Both roles read how many items there are, the consumers by another way to the same address.
!keys = !sparseattn_nv.channel<128x64xbf16, stages = 1>
gpu.module @kernels {
  gpu.func @loaded(%map: !sparseattn_nv.tensor_map, %list: !llvm.ptr<1>, %tile: i64) kernel {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c4 = arith.constant 4 : i64
    %k = sparseattn_nv.channel "key" : !keys
    sparseattn_nv.specialize producer registers(24) {
      %at = llvm.getelementptr %list[%tile] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, i32
      %n = llvm.load %at : !llvm.ptr<1> -> i32
      scf.for %i = %c0 to %n step %c1 : i32 {
        sparseattn_nv.fill %k[%i] from %map[%c0, %c0, %c0] : !keys
      }
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
      %byte = arith.muli %tile, %c4 : i64
      %at = llvm.getelementptr %list[%byte] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, i8
      %n = llvm.load %at : !llvm.ptr<1> -> i32
      scf.for %i = %c0 to %n step %c1 : i32 {
        %t = sparseattn_nv.await %k[%i] : !keys
        sparseattn_nv.release %k[%i] : !keys
      }
    }
    gpu.return
  }
}

// -----
// The consumers read the number of the next tile.
!keys = !sparseattn_nv.channel<128x64xbf16, stages = 1>
gpu.module @kernels {
  // expected-note@+1 {{found for block}}
  gpu.func @loaded_elsewhere(%map: !sparseattn_nv.tensor_map, %list: !llvm.ptr<1>, %tile: i64) kernel {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %k = sparseattn_nv.channel "key" : !keys
    sparseattn_nv.specialize producer registers(24) {
      %at = llvm.getelementptr %list[%tile] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, i32
      %n = llvm.load %at : !llvm.ptr<1> -> i32
      scf.for %i = %c0 to %n step %c1 : i32 {
        // expected-error@+1 {{breaks the protocol of channels: no role can go on}}
        sparseattn_nv.fill %k[%i] from %map[%c0, %c0, %c0] : !keys
      }
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
      %at = llvm.getelementptr %list[%tile] : (!llvm.ptr<1>, i64) -> !llvm.ptr<1>, i32
      %next = llvm.getelementptr %at[1] : (!llvm.ptr<1>) -> !llvm.ptr<1>, i32
      %n = llvm.load %next : !llvm.ptr<1> -> i32
      scf.for %i = %c0 to %n step %c1 : i32 {
        %t = sparseattn_nv.await %k[%i] : !keys
        sparseattn_nv.release %k[%i] : !keys
      }
    }
    gpu.return
  }
}

// -----
// Without keys this launch divides by 0; the others are verified.
!keys = !sparseattn_nv.channel<128x64xbf16, stages = 1>
gpu.module @kernels {
  // expected-note@+1 {{found for block 0 with arguments #1 = 127}}
  gpu.func @some_launches(%map: !sparseattn_nv.tensor_map, %nk: i32) kernel {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %c127 = arith.constant 127 : i32
    %none = arith.subi %nk, %c1 : i32
    %some = arith.divui %c127, %none : i32
    %k = sparseattn_nv.channel "key" : !keys
    // expected-error@+1 {{never releases item 0 of channel key}}
    sparseattn_nv.specialize producer registers(24) {
      scf.for %i = %c0 to %some step %c1 : i32 {
        sparseattn_nv.fill %k[%i] from %map[%c0, %c0, %c0] : !keys
      }
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
      scf.for %i = %c0 to %some step %c1 : i32 {
        %t = sparseattn_nv.await %k[%i] : !keys
      }
    }
    gpu.return
  }
}

// -----
// Numbers that are computed from others than integers are not known here.
!keys = !sparseattn_nv.channel<128x64xbf16, stages = 1>
gpu.module @kernels {
  gpu.func @unknown(%map: !sparseattn_nv.tensor_map, %x: f32) kernel {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    %k = sparseattn_nv.channel "key" : !keys
    %n = arith.fptosi %x : f32 to i32
    sparseattn_nv.specialize producer registers(24) {
      // expected-remark@+1 {{channels not verified: this depends on numbers that are known at run time only}}
      scf.for %i = %c0 to %n step %c1 : i32 {
        sparseattn_nv.fill %k[%i] from %map[%c0, %c0, %c0] : !keys
      }
    } consumers(2) registers(240) {
    ^bb0(%wg: i32):
    }
    gpu.return
  }
}

// -----
// Two consumers take turns.
gpu.module @kernels {
  gpu.func @turns(%n: i32) kernel {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    sparseattn_nv.specialize producer registers(24) {
    } consumers(2) registers(240) {
    ^bb0(%own: i32):
      %next = arith.subi %c1, %own : i32
      %last = arith.cmpi eq, %own, %c1 : i32
      scf.if %last {
        sparseattn_nv.pass_turn %c0
      }
      scf.for %i = %c0 to %n step %c1 : i32 {
        sparseattn_nv.take_turn %own
        sparseattn_nv.pass_turn %next
      }
    }
    gpu.return
  }
}

// -----
// Nobody begins.
gpu.module @kernels {
  // expected-note@+1 {{found for block}}
  gpu.func @nobody_begins(%n: i32) kernel {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    sparseattn_nv.specialize producer registers(24) {
    } consumers(2) registers(240) {
    ^bb0(%own: i32):
      %next = arith.subi %c1, %own : i32
      scf.for %i = %c0 to %n step %c1 : i32 {
        // expected-error@+1 {{no role can go on: consumer 0 waits for its turn; consumer 1 waits for its turn}}
        sparseattn_nv.take_turn %own
        sparseattn_nv.pass_turn %next
      }
    }
    gpu.return
  }
}

// -----
// A consumer keeps its turn.
gpu.module @kernels {
  // expected-note@+1 {{found for block}}
  gpu.func @dropped_pass(%n: i32) kernel {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    sparseattn_nv.specialize producer registers(24) {
    } consumers(2) registers(240) {
    ^bb0(%own: i32):
      %next = arith.subi %c1, %own : i32
      %last = arith.cmpi eq, %own, %c1 : i32
      scf.if %last {
        sparseattn_nv.pass_turn %c0
      }
      scf.for %i = %c0 to %n step %c1 : i32 {
        // expected-error@+1 {{no role can go on: consumer 1 waits for its turn}}
        sparseattn_nv.take_turn %own
        scf.if %last {
          sparseattn_nv.pass_turn %next
        }
      }
    }
    gpu.return
  }
}

// -----
// A consumer goes through more blocks than the other.
gpu.module @kernels {
  // expected-note@+1 {{found for block}}
  gpu.func @uneven(%n: i32) kernel {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    sparseattn_nv.specialize producer registers(24) {
    } consumers(2) registers(240) {
    ^bb0(%own: i32):
      %next = arith.subi %c1, %own : i32
      %last = arith.cmpi eq, %own, %c1 : i32
      scf.if %last {
        sparseattn_nv.pass_turn %c0
      }
      %more = arith.addi %n, %own : i32
      scf.for %i = %c0 to %more step %c1 : i32 {
        // expected-error@+1 {{no role can go on: consumer 1 waits for its turn}}
        sparseattn_nv.take_turn %own
        sparseattn_nv.pass_turn %next
      }
    }
    gpu.return
  }
}

// -----
// A consumer passes its turn twice.
gpu.module @kernels {
  // expected-note@+1 {{found for block}}
  gpu.func @twice(%n: i32) kernel {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    sparseattn_nv.specialize producer registers(24) {
    } consumers(2) registers(240) {
    ^bb0(%own: i32):
      %next = arith.subi %c1, %own : i32
      %last = arith.cmpi eq, %own, %c1 : i32
      scf.if %last {
        sparseattn_nv.pass_turn %c0
      }
      sparseattn_nv.take_turn %own
      sparseattn_nv.pass_turn %next
      // expected-error@+1 {{consumer 0 passes consumer 1 a turn before that took the last one}}
      sparseattn_nv.pass_turn %next
    }
    gpu.return
  }
}

// -----
// A consumer takes the turn of the other.
gpu.module @kernels {
  // expected-note@+1 {{found for block}}
  gpu.func @swapped(%n: i32) kernel {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    sparseattn_nv.specialize producer registers(24) {
    } consumers(2) registers(240) {
    ^bb0(%own: i32):
      %next = arith.subi %c1, %own : i32
      %last = arith.cmpi eq, %own, %c1 : i32
      scf.if %last {
        sparseattn_nv.pass_turn %c0
      }
      // expected-error@+1 {{consumer 0 takes the turn of consumer 1}}
      sparseattn_nv.take_turn %next
      sparseattn_nv.pass_turn %own
    }
    gpu.return
  }
}

// -----
// There is no third consumer.
gpu.module @kernels {
  // expected-note@+1 {{found for block}}
  gpu.func @nobody(%n: i32) kernel {
    %c0 = arith.constant 0 : i32
    %c1 = arith.constant 1 : i32
    sparseattn_nv.specialize producer registers(24) {
    } consumers(2) registers(240) {
    ^bb0(%own: i32):
      %next = arith.subi %c1, %own : i32
      %last = arith.cmpi eq, %own, %c1 : i32
      scf.if %last {
        sparseattn_nv.pass_turn %c0
      }
      %two = arith.addi %c1, %c1 : i32
      sparseattn_nv.take_turn %own
      // expected-error@+1 {{there is no consumer 2 to have a turn}}
      sparseattn_nv.pass_turn %two
    }
    gpu.return
  }
}
