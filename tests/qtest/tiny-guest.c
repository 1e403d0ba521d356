/*
 * A guest of 200 bytes: its firmware image
 *
 * The image is the last 64 KiB below 4 GiB, and is seen below 1 MiB too, where
 * the second vCPU is sent to start. To change the code, change this source
 * (as --32, objcopy -O binary) and the bytes below it.
 *
 *         .org    0
 *         .code16
 * entry:  cli
 *         lgdtl   %cs:gdt
 *         mov     %cr0, %eax
 *         or      $1, %al
 *         mov     %eax, %cr0
 *         ljmpl   $8, $flat + 0xffff0000
 *         .code32
 * flat:   mov     $16, %eax
 *         mov     %eax, %ds
 *         mov     %eax, %es
 *         mov     %eax, %ss
 *         mov     0xfee00020, %ebp
 *         shr     $24, %ebp
 *         jnz     1f
 *         movl    $0xc46f0, 0xfee00300
 * 1:      shl     $8, %ebp
 *         mov     $0x80000, %esp
 *         sub     %ebp, %esp
 *         add     $0xffff0400, %ebp
 *         mov     4(%ebp), %edx
 *         lea     8(%ebp), %esi
 *         mov     (%ebp), %eax
 *         dec     %eax
 *         jz      count
 *         dec     %eax
 *         jz      modify
 *         dec     %eax
 *         jz      print
 * halt:   hlt
 *         jmp     halt
 *
 * count:  mov     %esi, %ebx
 * 1:      mov     (%ebx), %edi
 *         mov     4(%ebx), %ecx
 *         add     $8, %ebx
 *         jecxz   3f
 * 2:      incl    (%edi)
 *         add     $4096, %edi
 *         loop    2b
 *         jmp     1b
 * 3:      call    spin
 *         jmp     count
 *
 * modify: mov     (%esi), %edi
 *         movb    $0xb8, (%edi)
 *         movb    $0xc3, 5(%edi)
 * 1:      inc     %ebx
 *         mov     %ebx, 1(%edi)
 *         mov     $64, %esi
 * 2:      call    spin
 *         call    *%edi
 *         cmp     %ebx, %eax
 *         je      3f
 *         mov     $0x21, %al
 *         out     %al, $0xe9
 * 3:      dec     %esi
 *         jnz     2b
 *         incl    4096(%edi)
 *         jmp     1b
 *
 * print:  mov     $0x3fd, %edx
 * 1:      in      %dx, %al
 *         test    $0x20, %al
 *         jz      1b
 *         mov     $0x3f8, %edx
 *         mov     $0x2e, %al
 *         out     %al, %dx
 *         jmp     print
 *
 * spin:   mov     %edx, %ecx
 * 1:      loop    1b
 *         ret
 *         .org    0x300
 * gdt:    .word   23
 *         .long   0xffff0308
 *         .org    0x308
 *         .quad   0
 *         .quad   0x00cf9b000000ffff
 *         .quad   0x00cf93000000ffff
 *         .org    0xfff0
 *         .code16
 *         jmp     entry
 *         .org    0x10000
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "tiny-guest.h"

#define IMAGE_SIZE      (64 * 1024)
#define IMAGE_BASE      0xffff0000
#define GDT_POINTER     0x300
#define GDT             0x308
#define CPU_JOBS        0x400
#define CPU_JOB_SIZE    0x100
#define RESET_VECTOR    0xfff0

static const uint8_t code[] = {
    0xfa, 0x2e, 0x66, 0x0f, 0x01, 0x16, 0x00, 0x03, 0x0f, 0x20, 0xc0, 0x0c,
    0x01, 0x0f, 0x22, 0xc0, 0x66, 0xea, 0x18, 0x00, 0xff, 0xff, 0x08, 0x00,
    0xb8, 0x10, 0x00, 0x00, 0x00, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0x8b,
    0x2d, 0x20, 0x00, 0xe0, 0xfe, 0xc1, 0xed, 0x18, 0x75, 0x0a, 0xc7, 0x05,
    0x00, 0x03, 0xe0, 0xfe, 0xf0, 0x46, 0x0c, 0x00, 0xc1, 0xe5, 0x08, 0xbc,
    0x00, 0x00, 0x08, 0x00, 0x29, 0xec, 0x81, 0xc5, 0x00, 0x04, 0xff, 0xff,
    0x8b, 0x55, 0x04, 0x8d, 0x75, 0x08, 0x8b, 0x45, 0x00, 0x48, 0x74, 0x09,
    0x48, 0x74, 0x25, 0x48, 0x74, 0x4e, 0xf4, 0xeb, 0xfd, 0x89, 0xf3, 0x8b,
    0x3b, 0x8b, 0x4b, 0x04, 0x83, 0xc3, 0x08, 0xe3, 0x0c, 0xff, 0x07, 0x81,
    0xc7, 0x00, 0x10, 0x00, 0x00, 0xe2, 0xf6, 0xeb, 0xea, 0xe8, 0x42, 0x00,
    0x00, 0x00, 0xeb, 0xe1, 0x8b, 0x3e, 0xc6, 0x07, 0xb8, 0xc6, 0x47, 0x05,
    0xc3, 0x43, 0x89, 0x5f, 0x01, 0xbe, 0x40, 0x00, 0x00, 0x00, 0xe8, 0x29,
    0x00, 0x00, 0x00, 0xff, 0xd7, 0x39, 0xd8, 0x74, 0x04, 0xb0, 0x21, 0xe6,
    0xe9, 0x4e, 0x75, 0xee, 0xff, 0x87, 0x00, 0x10, 0x00, 0x00, 0xeb, 0xdd,
    0xba, 0xfd, 0x03, 0x00, 0x00, 0xec, 0xa8, 0x20, 0x74, 0xfb, 0xba, 0xf8,
    0x03, 0x00, 0x00, 0xb0, 0x2e, 0xee, 0xeb, 0xec, 0x89, 0xd1, 0xe2, 0xfe,
    0xc3,
};

static const uint64_t gdt[] = {
    0,
    0x00cf9b000000ffff, /* 32-bit code, all of memory */
    0x00cf93000000ffff, /* data, all of memory */
};

static const uint8_t reset_vector[] = { 0xe9, 0x0d, 0x00 };

void tiny_guest_write(const TinyGuest *guest, const char *path)
{
    g_autofree uint8_t *image = g_malloc0(IMAGE_SIZE);
    g_autoptr(GError) err = NULL;
    int i, j;

    QEMU_BUILD_BUG_ON(sizeof(code) > GDT_POINTER);
    memcpy(image, code, sizeof(code));
    memcpy(image + RESET_VECTOR, reset_vector, sizeof(reset_vector));

    stw_le_p(image + GDT_POINTER, sizeof(gdt) - 1);
    stl_le_p(image + GDT_POINTER + 2, IMAGE_BASE + GDT);
    for (i = 0; i < ARRAY_SIZE(gdt); i++) {
        stq_le_p(image + GDT + i * sizeof(gdt[0]), gdt[i]);
    }

    for (i = 0; i < TINY_GUEST_MAX_CPUS; i++) {
        const TinyGuestCpu *cpu = &guest->cpu[i];
        uint8_t *job = image + CPU_JOBS + i * CPU_JOB_SIZE;

        stl_le_p(job, cpu->program);
        stl_le_p(job + 4, MAX(cpu->pause, 1));
        for (j = 0; j < TINY_GUEST_MAX_RANGES; j++) {
            stl_le_p(job + 8 + j * 8, cpu->ranges[j].start);
            stl_le_p(job + 12 + j * 8, cpu->ranges[j].pages);
        }
    }

    g_file_set_contents(path, (char *)image, IMAGE_SIZE, &err);
    g_assert_no_error(err);
}
