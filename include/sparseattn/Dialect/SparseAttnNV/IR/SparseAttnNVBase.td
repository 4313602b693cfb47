//===- SparseAttnNVBase.td - dialect, layouts, types --------*- tablegen -*-===//
//
// Part of the sparseattn project.
//
//===----------------------------------------------------------------------===//

#ifndef SPARSEATTN_NV_BASE_TD
#define SPARSEATTN_NV_BASE_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"
include "mlir/IR/TensorEncoding.td"

def SparseAttnNV_Dialect : Dialect {
  let name = "sparseattn_nv";
  let cppNamespace = "::sparseattn::nv";
  let summary = "Warpgroups, shared tiles and channels of Hopper GPUs (level L2)";
  let description = [{
    A kernel at level L2 is a `gpu.func` in a `gpu.module`. One *producer*
    thread fills shared memory; one to three *consumer* warpgroups of 128
    threads compute, 64 rows each. Everything that crosses between them is a
    *channel*: a ring of tiles in shared memory whose items are named by their
    absolute number 0, 1, 2, …. Slots, phases and barriers do not exist before
    `sparseattn-nv-lower-channels`.

    A tile that a warpgroup holds in registers is a tensor whose encoding says
    which thread holds which element:

    | encoding | tensor | values of one thread |
    |---|---|---|
    | `acc` | `64xN`: accumulator of `m64nNk16` | N/2, or N/4 pairs of 16-bit elements |
    | `operand` | `64xK`: left operand of `m64nNk16` in registers | K/4 pairs of 16-bit elements |
    | `row` | `64`: one value per row, the same in the 4 lanes that share the row | 2 |
    | `row_partial` | `64`: each of the 4 lanes holds a summand of the row's value | 2 |

    Element-wise work on them is `arith` and `math`. Thread t of a warpgroup
    (warp w = t div 32, lane l = t mod 32) holds, as values 4j+e of an `acc`
    tile (e in 0…3), row `16 w + l div 4 + 8 (e div 2)`, column
    `8 j + 2 (l mod 4) + e mod 2` (PTX ISA, "Register Fragments for wgmma").

    There is no `index` at this level: coordinates are i32, element offsets i64.
    All coordinates are the same in every thread of a role.
  }];
  let useDefaultAttributePrinterParser = 1;
  let useDefaultTypePrinterParser = 1;
}

class SparseAttnNV_Op<string mnemonic, list<Trait> traits = []> : Op<SparseAttnNV_Dialect, mnemonic, traits>;

//===----------------------------------------------------------------------===//
// Layouts of tiles in registers
//===----------------------------------------------------------------------===//

class SparseAttnNV_Encoding<string name, string attrMnemonic>
    : AttrDef<SparseAttnNV_Dialect, name, [DeclareAttrInterfaceMethods<VerifiableTensorEncoding>]> {
  let mnemonic = attrMnemonic;
}

def SparseAttnNV_AccAttr : SparseAttnNV_Encoding<"Acc", "acc"> {
  let summary = "accumulator of m64nNk16, held by one warpgroup";
  let description = [{
    Tensors of one 32-bit value per element, of predicates, or of 16-bit
    elements, of which the two in neighbouring columns `2k`, `2k+1` share a
    register.

    Constraints: (E1) shape `64xN` with N a multiple of 8 in [8, 256];
    (E2) elements are f32, i32, i1, bf16 or f16.
  }];
}
def SparseAttnNV_OperandAttr : SparseAttnNV_Encoding<"Operand", "operand"> {
  let summary = "left operand of m64nNk16 in registers";
  let description = [{
    Constraints: (E3) shape `64xK` with K a multiple of 16 in [16, 256];
    (E4) elements are bf16 or f16.
  }];
}
def SparseAttnNV_RowAttr : SparseAttnNV_Encoding<"Row", "row"> {
  let summary = "one value per row, replicated over the 4 lanes that share the row";
  let description = [{
    Constraints: (E5) shape `64`; (E6) elements are f32, i32 or i1.
  }];
}
def SparseAttnNV_RowPartialAttr : SparseAttnNV_Encoding<"RowPartial", "row_partial"> {
  let summary = "one sum per row, each of the 4 lanes that share the row holds a summand";
  let description = [{
    Only linear operations have a meaning on it: `arith.addf`, `arith.subf`,
    `arith.negf`, `sparseattn_nv.scale`, `arith.select` with a condition of the
    whole warpgroup, and constants of 0.

    Constraints: (E7) shape `64`; (E8) elements are f32.
  }];
}

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

class SparseAttnNV_Type<string name, string typeMnemonic> : TypeDef<SparseAttnNV_Dialect, name> {
  let mnemonic = typeMnemonic;
}

def SparseAttnNV_TensorMapType : SparseAttnNV_Type<"TensorMap", "tensor_map"> {
  let summary = "description of a tensor in global memory for TMA, an argument of the kernel";
  let description = [{
    128 bytes by value that the host fills (`cuTensorMapEncodeTiled`): bf16 or
    f16 elements, 128-byte swizzle, zero fill outside the tensor, dimensions
    innermost first (64 features, positions, blocks of 64 features, …) and a box
    of one tile. Where the number of features is no multiple of 64, the
    dimensions are (features, positions, …), and the box is one block of a tile.
  }];
}

def SparseAttnNV_TileType : SparseAttnNV_Type<"Tile", "tile"> {
  let summary = "a tile in shared memory";
  let description = [{
    `rows` x `columns`, stored as ceil(`columns`/64) blocks of `pitch` rows of
    64 columns (128 bytes) in 128-byte swizzle; element (r, c) is in block
    c div 64 at row r. Products read the `columns` only, so that it does not
    matter what the rest of the last block holds. `pitch` is `rows` unless the
    tile is part of a larger one.

    Example: `!sparseattn_nv.tile<64x128xbf16, pitch = 128>`.

    Constraints: (T1) elements are bf16 or f16; (T2) `rows` is a multiple of 8
    in [8, 256]; (T3) `columns` is a multiple of 32 in [32, 1024]; (T4) `pitch`
    is a multiple of 8 in [`rows`, 256].
  }];
  let parameters = (ins "int64_t":$rows, "int64_t":$columns, "::mlir::Type":$elementType, "int64_t":$pitch);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let builders = [
    TypeBuilderWithInferredContext<(ins "int64_t":$rows, "int64_t":$columns, "::mlir::Type":$elementType), [{
      return $_get(elementType.getContext(), rows, columns, elementType, rows);
    }]>
  ];
  let extraClassDeclaration = [{
    /// Blocks of 64 columns, of which the last may have fewer.
    int64_t getNumBlocks() const;
    /// Bytes of a block of `rows` rows, and of all blocks.
    int64_t getBlockBytes() const;
    int64_t getSizeInBytes() const { return getNumBlocks() * getBlockBytes(); }
  }];
}

def SparseAttnNV_ChannelType : SparseAttnNV_Type<"Channel", "channel"> {
  let summary = "ring of tiles from the producer to all consumers";
  let description = [{
    `stages` slots of a tile each; item p is in slot p mod `stages`.

    Constraints: those of the tile and (T5) `stages` in [1, 32].
  }];
  let parameters = (ins "int64_t":$rows, "int64_t":$columns, "::mlir::Type":$elementType, "int64_t":$stages);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Type of one item.
    ::sparseattn::nv::TileType getTile() const;
  }];
}

def SparseAttnNV_PendingType : SparseAttnNV_Type<"Pending", "pending"> {
  let summary = "accumulator that the tensor cores may still be writing";
  let description = [{
    Only `sparseattn_nv.wait` turns it into a tensor, so that nothing can read
    registers in flight.

    Constraints: (T6) the tensor has f32 elements and encoding `acc`.
  }];
  let parameters = (ins "::mlir::RankedTensorType":$tensor);
  let assemblyFormat = "`<` $tensor `>`";
  let genVerifyDecl = 1;
  let builders = [
    TypeBuilderWithInferredContext<(ins "::mlir::RankedTensorType":$tensor), [{
      return $_get(tensor.getContext(), tensor);
    }]>
  ];
}

//===----------------------------------------------------------------------===//
// Operand constraints
//===----------------------------------------------------------------------===//

class SparseAttnNV_Fragment<string attr, string summary> : Type<
    And<[IsRankedTensorTypePred, CPred<"::llvm::isa_and_nonnull<::sparseattn::nv::" # attr #
         ">(::llvm::cast<::mlir::RankedTensorType>($_self).getEncoding())">]>,
    summary, "::mlir::RankedTensorType">;
def SparseAttnNV_Acc : SparseAttnNV_Fragment<"AccAttr", "tensor with encoding #sparseattn_nv.acc">;
def SparseAttnNV_Operand : SparseAttnNV_Fragment<"OperandAttr", "tensor with encoding #sparseattn_nv.operand">;
def SparseAttnNV_Row : SparseAttnNV_Fragment<"RowAttr", "tensor with encoding #sparseattn_nv.row">;
def SparseAttnNV_RowPartial
    : SparseAttnNV_Fragment<"RowPartialAttr", "tensor with encoding #sparseattn_nv.row_partial">;

def SparseAttnNV_GlobalPointer : Type<
    CPred<"::llvm::isa<::mlir::LLVM::LLVMPointerType>($_self) && "
          "::llvm::cast<::mlir::LLVM::LLVMPointerType>($_self).getAddressSpace() == 1">,
    "pointer to global memory (!llvm.ptr<1>)">;

def SparseAttnNV_ReduceKind : I32EnumAttr<"ReduceKind", "reduction over the columns of a tile", [
  I32EnumAttrCase<"Max", 0, "max">,
  I32EnumAttrCase<"Add", 1, "add">
]> {
  let cppNamespace = "::sparseattn::nv";
  let genSpecializedAttr = 0;
}
def SparseAttnNV_ReduceKindAttr : EnumAttr<SparseAttnNV_Dialect, SparseAttnNV_ReduceKind, "reduce_kind"> {
  let description = [{`max` takes the larger of two numbers and ignores NaN, as `arith.maxnumf` does.}];
}

#endif // SPARSEATTN_NV_BASE_TD
