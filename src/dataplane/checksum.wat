;; The Internet checksum's sum (RFC 1071) of a range of memory, 64 bytes a step, alone and with copying the range. Made into checksum.gen.ts by `make wasm`.
;;
;; Words are added as the machine reads them, low byte first: RFC 1071 (2)(B) lets the sum be swapped instead of every word. Each step adds two words of
;; 16 bits to each lane of 32 bits, so a lane holds 512 KiB without overflow; a packet has 64 KiB at most.
(module
  (import "packets" "memory" (memory 1))

  ;; The sum in network order, 0 to 0xffff, of four lanes and what came after them.
  (func $fold (param $lanes v128) (param $rest i64) (result i32)
    (local $sum i64) (local $low i32)
    (local.set $sum
      (i64.add
        (i64.add
          (i64.add (local.get $rest) (i64.extend_i32_u (i32x4.extract_lane 0 (local.get $lanes))))
          (i64.extend_i32_u (i32x4.extract_lane 1 (local.get $lanes))))
        (i64.add
          (i64.extend_i32_u (i32x4.extract_lane 2 (local.get $lanes)))
          (i64.extend_i32_u (i32x4.extract_lane 3 (local.get $lanes))))))
    ;; 64 bits to 34, to 19, to 17, to 16.
    (local.set $sum (i64.add (i64.and (local.get $sum) (i64.const 0xffffffff)) (i64.shr_u (local.get $sum) (i64.const 32))))
    (local.set $sum (i64.add (i64.and (local.get $sum) (i64.const 0xffff)) (i64.shr_u (local.get $sum) (i64.const 16))))
    (local.set $sum (i64.add (i64.and (local.get $sum) (i64.const 0xffff)) (i64.shr_u (local.get $sum) (i64.const 16))))
    (local.set $sum (i64.add (i64.and (local.get $sum) (i64.const 0xffff)) (i64.shr_u (local.get $sum) (i64.const 16))))
    (local.set $low (i32.wrap_i64 (local.get $sum)))
    (i32.or
      (i32.shr_u (local.get $low) (i32.const 8))
      (i32.shl (i32.and (local.get $low) (i32.const 0xff)) (i32.const 8))))

  (func (export "sum") (param $at i32) (param $length i32) (result i32)
    (local $a v128) (local $b v128) (local $rest i64)
    (block $steps_done
      (loop $step
        (br_if $steps_done (i32.lt_u (local.get $length) (i32.const 64)))
        (local.set $a (i32x4.add (local.get $a) (i32x4.extadd_pairwise_i16x8_u (v128.load (local.get $at)))))
        (local.set $b (i32x4.add (local.get $b) (i32x4.extadd_pairwise_i16x8_u (v128.load offset=16 (local.get $at)))))
        (local.set $a (i32x4.add (local.get $a) (i32x4.extadd_pairwise_i16x8_u (v128.load offset=32 (local.get $at)))))
        (local.set $b (i32x4.add (local.get $b) (i32x4.extadd_pairwise_i16x8_u (v128.load offset=48 (local.get $at)))))
        (local.set $at (i32.add (local.get $at) (i32.const 64)))
        (local.set $length (i32.sub (local.get $length) (i32.const 64)))
        (br $step)))
    (block $words_done
      (loop $word
        (br_if $words_done (i32.lt_u (local.get $length) (i32.const 4)))
        (local.set $rest (i64.add (local.get $rest) (i64.load32_u (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 4)))
        (local.set $length (i32.sub (local.get $length) (i32.const 4)))
        (br $word)))
    (if (i32.and (local.get $length) (i32.const 2))
      (then
        (local.set $rest (i64.add (local.get $rest) (i64.load16_u (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 2)))))
    (if (i32.and (local.get $length) (i32.const 1))
      (then (local.set $rest (i64.add (local.get $rest) (i64.load8_u (local.get $at))))))
    (call $fold (i32x4.add (local.get $a) (local.get $b)) (local.get $rest)))

  ;; The same, with the range copied to $to, which does not overlap it.
  (func (export "copySum") (param $to i32) (param $at i32) (param $length i32) (result i32)
    (local $a v128) (local $b v128) (local $c v128) (local $d v128) (local $rest i64) (local $word i32)
    (block $steps_done
      (loop $step
        (br_if $steps_done (i32.lt_u (local.get $length) (i32.const 64)))
        (v128.store (local.get $to) (local.tee $c (v128.load (local.get $at))))
        (v128.store offset=16 (local.get $to) (local.tee $d (v128.load offset=16 (local.get $at))))
        (local.set $a (i32x4.add (local.get $a) (i32x4.extadd_pairwise_i16x8_u (local.get $c))))
        (local.set $b (i32x4.add (local.get $b) (i32x4.extadd_pairwise_i16x8_u (local.get $d))))
        (v128.store offset=32 (local.get $to) (local.tee $c (v128.load offset=32 (local.get $at))))
        (v128.store offset=48 (local.get $to) (local.tee $d (v128.load offset=48 (local.get $at))))
        (local.set $a (i32x4.add (local.get $a) (i32x4.extadd_pairwise_i16x8_u (local.get $c))))
        (local.set $b (i32x4.add (local.get $b) (i32x4.extadd_pairwise_i16x8_u (local.get $d))))
        (local.set $at (i32.add (local.get $at) (i32.const 64)))
        (local.set $to (i32.add (local.get $to) (i32.const 64)))
        (local.set $length (i32.sub (local.get $length) (i32.const 64)))
        (br $step)))
    (block $words_done
      (loop $next
        (br_if $words_done (i32.lt_u (local.get $length) (i32.const 4)))
        (i32.store (local.get $to) (local.tee $word (i32.load (local.get $at))))
        (local.set $rest (i64.add (local.get $rest) (i64.extend_i32_u (local.get $word))))
        (local.set $at (i32.add (local.get $at) (i32.const 4)))
        (local.set $to (i32.add (local.get $to) (i32.const 4)))
        (local.set $length (i32.sub (local.get $length) (i32.const 4)))
        (br $next)))
    (if (i32.and (local.get $length) (i32.const 2))
      (then
        (i32.store16 (local.get $to) (local.tee $word (i32.load16_u (local.get $at))))
        (local.set $rest (i64.add (local.get $rest) (i64.extend_i32_u (local.get $word))))
        (local.set $at (i32.add (local.get $at) (i32.const 2)))
        (local.set $to (i32.add (local.get $to) (i32.const 2)))))
    (if (i32.and (local.get $length) (i32.const 1))
      (then
        (i32.store8 (local.get $to) (local.tee $word (i32.load8_u (local.get $at))))
        (local.set $rest (i64.add (local.get $rest) (i64.extend_i32_u (local.get $word))))))
    (call $fold (i32x4.add (local.get $a) (local.get $b)) (local.get $rest))))
