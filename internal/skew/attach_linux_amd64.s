#include "textflag.h"

// clockGettime is called as C calls: DI is which clock, SI where its time goes. AX is what the kernel's function returned.
TEXT ·clockGettime(SB), NOSPLIT|NOFRAME, $0-0
	PUSHQ	DI
	PUSHQ	SI
	SUBQ	$8, SP // 16 bytes is what C aligns to
	MOVQ	·clocks+0(SB), AX
	CALL	AX
	ADDQ	$8, SP
	POPQ	SI
	POPQ	DI
	MOVL	DI, DI
	CMPQ	DI, $1
	JHI	done // neither CLOCK_REALTIME, 0, nor CLOCK_MONOTONIC, 1
	MOVQ	·clocks+8(SB), DX
	MOVQ	(DX), CX
	SHLQ	$5, CX // a slot has 32 bytes
	ADDQ	CX, DX
	SHLQ	$4, DI // half of it for each clock
	ADDQ	DI, DX
	MOVQ	0(SI), R8
	ADDQ	0(DX), R8
	MOVQ	8(SI), R9
	ADDQ	8(DX), R9
	CMPQ	R9, $1000000000
	JLT	whole
	SUBQ	$1000000000, R9
	INCQ	R8

whole:
	MOVQ	R8, 0(SI)
	MOVQ	R9, 8(SI)

done:
	RET

// func clockGettimeAt() uintptr
TEXT ·clockGettimeAt(SB), NOSPLIT, $0-8
	LEAQ	·clockGettime(SB), AX
	MOVQ	AX, ret+0(FP)
	RET
