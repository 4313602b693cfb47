// RUN: sparseattn-opt %s --sparseattn-nv-verify-ptx -split-input-file -verify-diagnostics

gpu.binary @good [#gpu.object<#nvvm.target<chip = "sm_90a">, assembly = ".visible .entry f() { ret; }">]

// -----
// expected-error@+1 {{calls the external function '__nv_sinf', but no library is linked; an operation of the kernel has no instruction}}
gpu.binary @calls [#gpu.object<#nvvm.target<chip = "sm_90a">, assembly = ".extern .func (.param .b32 func_retval0) __nv_sinf\0A(\0A.param .b32 p\0A)\0A;">]
