"""Reports as kernels, systemd and boot loaders print them, each whole and nothing else: (kind, text).

From the kernel's own documentation (KASAN, KFENCE, UBSAN, RCU), from bug reports, and from its format strings; call
traces are shortened. Those recorded on a guest of ours are in `consoles/`.
"""
# ruff: noqa: E501 - the texts are as long as they are

REPORTS: tuple[tuple[str, str], ...] = (
    (
        "panic",
        """\
Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)
CPU: 0 UID: 0 PID: 1 Comm: swapper/0 Not tainted 6.12.20 #1
Tainted: [D]=DIE
Hardware name: QEMU Standard PC (Q35 + ICH9, 2009), BIOS 1.16.2-debian-1.16.2-1 04/01/2014
Call Trace:
 <TASK>
 dump_stack_lvl+0x44/0x5c
 panic+0x118/0x2f4
 </TASK>
Kernel Offset: 0x1bc00000 from 0xffffffff81000000 (relocation range: 0xffffffff80000000-0xffffffffbfffffff)
---[ end Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0) ]---""",
    ),
    (
        "panic",
        """\
Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b
CPU: 0 PID: 1 Comm: init Not tainted 4.14.148 #0
Stack : 00000000 00000000 8d664f98 80073e88 805e0000 80583fa8 00000000 00000000
        8054e4ec 8eaf5bec 8fe8c83c 805bea07 80549008 00000001 8eaf5b90 ac07f58d
        ...
Call Trace:
[<8000c6d4>] show_stack+0x58/0x100
[<80485bcc>] dump_stack+0x9c/0xe0
Rebooting in 10 seconds..""",
    ),
    (
        "oops",
        """\
BUG: kernel NULL pointer dereference, address: 000000000000000b
#PF: supervisor write access in kernel mode
#PF: error_code(0x0002) - not-present page
PGD 0 P4D 0
Oops: 0002 [#1] SMP NOPTI
CPU: 20 PID: 1214 Comm: dp_sync_taskq Tainted: P          IO      5.17.4-gentoo #1
Hardware name: Dell Inc. PowerEdge R610/0P8FRD, BIOS 6.6.0 05/22/2018
RIP: 0010:dbuf_sync_list+0x67/0x250 [zfs]
Code: 0e e8 5d fe ff ff 49 8b 47 10 48 39 c5 74 5e 49 8b 47 10 49 89 c2 4d 2b 57 08 74 51 49 83 7a 18 00 75 4a
RSP: 0018:ffffa1508d62bbd0 EFLAGS: 00010246
RAX: ffffa15a93f87800 RBX: ffffa15088cb4180 RCX: 0000000000000003
RDX: ffffa15bae3a2b10 RSI: ffffffffffffffff RDI: ffffa15087423308
RBP: ffffa15bae3a2b10 R08: 0000000000000000 R09: ffffffffc0f7e900
R10: ffffa15a93f87800 R11: 0001514c0001511a R12: 0000000000000000
FS:  0000000000000000(0000) GS:ffff99d537a00000(0000) knlGS:0000000000000000
CS:  0010 DS: 0000 ES: 0000 CR0: 0000000080050033
CR2: 000000000000000b CR3: 0000000003386000 CR4: 00000000000006b0
Call Trace:
 <TASK>
 dbuf_sync_list+0x67/0x250 [zfs]
 ? __pfx_kthread+0x10/0x10
 ret_from_fork+0x22/0x30
 </TASK>
Modules linked in: zfs(PO) veth nf_conntrack_netlink xt_nat
CR2: 000000000000000b
---[ end trace 0000000000000000 ]---""",
    ),
    (
        "oops",
        """\
BUG: unable to handle kernel NULL pointer dereference at 000000000000000a
IP: [<ffffffffc0841d99>] octf_trace_push+0x19/0x240 [iotrace]
PGD 0
Thread overran stack, or stack corrupted
Oops: 0000 [#1] SMP
Modules linked in: intelcas(OE) inteldisk(OE) iotrace(OE) brd [last unloaded: inteldisk]
CPU: 67 PID: 0 Comm: swapper/67 Tainted: G           OE  ------------   3.10.0 #1
task: ffff880337f12990 ti: ffff880337514000 task.ti: ffff880337514000
RIP: 0010:[<ffffffff81088847>]  [<ffffffff81088847>] csd_lock_wait.isra.1+0x4/0xa
Stack:
 0000000000000092 00000000a6eb3604 ffff8803bd6539f8 ffffffffa0d70fcd
Call Trace:
 [<ffffffff817b22e9>] schedule+0x29/0x70
Code: 00 00 66 90 <f3> 0f 6f 20
RIP  [<ffffffff81088847>] csd_lock_wait.isra.1+0x4/0xa
 RSP <ffff880337517d50>
CR2: 000000000000000a
---[ end trace 9e8cfe9bac429f8b ]---""",
    ),
    (
        "oops",
        """\
Unable to handle kernel NULL pointer dereference at virtual address 0000000000000053
Mem abort info:
  ESR = 0x96000006
  EC = 0x25: DABT (current EL), IL = 32 bits
  SET = 0, FnV = 0
Data abort info:
  ISV = 0, ISS = 0x00000006
  CM = 0, WnR = 0
user pgtable: 4k pages, 39-bit VAs, pgdp=0000000042a43000
[0000000000000053] pgd=0000000042a2b003, p4d=0000000042a2b003, pud=0000000042a2b003, pmd=0000000000000000
Internal error: Oops: 96000006 [#1] SMP
Modules linked in:
CPU: 0 PID: 1 Comm: swapper/0 Not tainted 5.19.0-rc6-00575-g00b9cba1cc96 #1
pstate: 40000005 (nZcv daif -PAN -UAO -TCO -DIT -SSBS BTYPE=--)
pc : page_frag_alloc_align+0x230/0x580
lr : free_reserved_area+0x98/0x138
sp : ffff80000802be10
x29: ffff80000802be10 x28: ffff48cb4333c000 x27: ffffa7b244117630
x2 : 0000000000000000 x1 : 0000000000000001 x0 : 0000000000000001
Call trace:
 page_frag_alloc_align+0x230/0x580
 kernel_init+0x24/0x130
Code: 78402423 780008c3 910008c6 36000962 (38401423)
---[ end trace 0000000000000000 ]---""",
    ),
    (
        "oops",
        """\
Unable to handle kernel NULL pointer dereference at virtual address 0000000c
pgd = 6f458410
[0000000c] *pgd=0d3e2831, *pte=00000000, *ppte=00000000
Internal error: Oops: 17 [#2] ARM
Modules linked in: fuse rfcomm bnep
CPU: 0 PID: 7690 Comm: htop Tainted: G      D  C        5.4.79+ #1373
Hardware name: BCM2835
PC is at seq_vprintf+0x18/0x64
LR is at seq_printf+0x3c/0x5c
pc : [<c01f3218>]    lr : [<c01f32a0>]    psr: 60000013
sp : cd009d54  ip : cd009d6c  fp : cd009d68
r10: c5cf5dc0  r9 : 00000000  r8 : c024801c
Flags: nZCv  IRQs on  FIQs on  Mode SVC_32  ISA ARM  Segment user
Control: 00c5387d  Table: 1dc9c008  DAC: 00000015
Process htop (pid: 7690, stack limit = 0xde83a1b8)
Stack: (0xde83bfb0 to 0xde83c000)
bfa0:                                     00000001 beae2938 00000001 ffffffff
[<c01f3218>] (seq_vprintf) from [<c01f32a0>] (seq_printf+0x3c/0x5c)
Code: bad PC value
---[ end trace 92750d3eb1480a4a ]---""",
    ),
    (
        "oops",
        """\
Unhandled fault: external abort on non-linefetch (0x1008) at 0xfe20004c
Internal error: : 1008 [#1] SMP ARM
Modules linked in:
---[ end trace 4a1d ]---""",
    ),
    ("oops", "Oops: Kernel access of bad area, sig: 11 [#1]\nNIP:  c0000000008e3f00 LR: c0000000008e3ef0 CTR: 0"),
    ("oops", "Oops [#1]\nepc : 0000000000cc9d6e ra : 0000000000d80428 sp : 0000003fffe6f8a0\n gp : 0000000001b4b478"),
    (
        "general_protection_fault",
        """\
general protection fault, probably for non-canonical address 0xdead000000000108: 0000 [#1] PREEMPT SMP NOPTI
CPU: 3 PID: 4711 Comm: kworker/3:1 Not tainted 6.1.0-18-amd64 #1  Debian 6.1.76-1
Workqueue: events blkg_free_workfn
RIP: 0010:__list_del_entry_valid.cold+0xf/0x6f
Call Trace:
 <TASK>
 process_one_work+0x1e5/0x3b0
 </TASK>
---[ end trace 0000000000000000 ]---""",
    ),
    (
        "general_protection_fault",
        "Oops: general protection fault, probably for non-canonical address 0xdead: 0000 [#1] SMP\nCPU: 0 UID: 0 PID: 1",
    ),
    ("general_protection_fault", "general protection fault: 0000 [#1] SMP\nModules linked in: nfsd exportfs"),
    (
        "bug",
        """\
------------[ cut here ]------------
kernel BUG at mm/slub.c:4023!
invalid opcode: 0000 [#1] PREEMPT SMP PTI
CPU: 1 PID: 366 Comm: insmod Tainted: G           OE      6.1.0-18-amd64 #1
RIP: 0010:kfree+0xb5/0xc0
Call Trace:
 do_one_initcall+0x5b/0x340
---[ end trace 0000000000000000 ]---""",
    ),
    (
        "bug",
        """\
BUG: sleeping function called from invalid context at kernel/locking/spinlock_rt.c:48
in_atomic(): 0, irqs_disabled(): 1, non_block: 0, pid: 7578, name: dd
preempt_count: 0, expected: 0
RCU nest depth: 0, expected: 0
7 locks held by dd/7578:
 #0: ffff00010b9054c0 (sb_writers#7){.+.+}-{0:0}, at: path_openat+0x7d8/0xb00
irq event stamp: 4470
hardirqs last  enabled at (4469): [<ffff80008352b80c>] _raw_spin_unlock_irqrestore+0x80/0x84
CPU: 1 PID: 7578 Comm: dd Not tainted 6.15.0 #1
Call trace:
 show_stack+0x18/0x24 (C)
 __might_resched+0x170/0x1b0""",
    ),
    (
        "bug",
        """\
BUG: Bad page state in process kworker/u16:2  pfn:11b5f3
page:ffffea0007d13b00 count:1 mapcount:0 mapping:ffff8801f7001640 index:0x0
flags: 0x200000000000100(slab)
raw: 0200000000000100 ffffea0007d11dc0 0000001a0000001a ffff8801f7001640
page dumped because: nonzero mapcount
Modules linked in: loop
Call Trace:
 bad_page.cold+0x8f/0xc1""",
    ),
    (
        "bug",
        "BUG: scheduling while atomic: swapper/0/0/0x00010000\nModules linked in:\nCall Trace:\n dump_stack+0x9c/0xe0",
    ),
    (
        "memory_corruption",
        """\
BUG kmalloc-64 (Tainted: G    B  ): Poison overwritten
-----------------------------------------------------------------------------

0xffff8881049f3a80-0xffff8881049f3a80 @offset=2688. First byte 0x6c instead of 0x6b
Allocated in made_up_init+0x1f/0x40 age=34 cpu=1 pid=412
Slab 0xffffea0004127cc0 objects=32 used=32 fp=0x0000000000000000 flags=0x200000000000200
Object   ffff8881049f3a80: 6c 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b  lkkkkkkkkkkkkkkk
CPU: 1 PID: 413 Comm: rmmod Tainted: G    B      6.1.0 #1
Call Trace:
 dump_stack_lvl+0x44/0x5c
FIX kmalloc-64: Restoring Poison 0xffff8881049f3a80-0xffff8881049f3a80=0x6b""",
    ),
    (
        "memory_corruption",
        """\
BUG: KASAN: slab-out-of-bounds in kmalloc_oob_right+0xa8/0xbc [test_kasan]
Write of size 1 at addr ffff8801f44ec37b by task insmod/2760

CPU: 1 PID: 2760 Comm: insmod Not tainted 4.19.0-rc3+ #698
Hardware name: QEMU Standard PC (i440FX + PIIX, 1996), BIOS 1.10.2-1 04/01/2014
Call Trace:
 dump_stack+0x94/0xd8
 kasan_report+0x144/0x187
RIP: 0033:0x7f96443109da

Allocated by task 2760:
 save_stack+0x43/0xd0
 kasan_kmalloc+0xa7/0xd0

Freed by task 815:
 kfree+0x93/0x1a0

The buggy address belongs to the object at ffff8801f44ec300
 which belongs to the cache kmalloc-128 of size 128
The buggy address is located 123 bytes inside of
 128-byte region [ffff8801f44ec300, ffff8801f44ec380)
page:ffffea0007d13b00 count:1 mapcount:0 mapping:ffff8801f7001640 index:0x0
page dumped because: kasan: bad access detected

Memory state around the buggy address:
 ffff8801f44ec200: fc fc fc fc fc fc fc fc fb fb fb fb fb fb fb fb
>ffff8801f44ec300: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 03
                                                                ^
 ffff8801f44ec380: fc fc fc fc fc fc fc fc fb fb fb fb fb fb fb fb
==================================================================""",
    ),
    (
        "memory_corruption",
        """\
BUG: KFENCE: out-of-bounds read in test_out_of_bounds_read+0xa3/0x22b

Out-of-bounds read at 0xffffffffb672efff (1B left of kfence-#17):
 test_out_of_bounds_read+0xa3/0x22b

kfence-#17 [0xffffffffb672f000-0xffffffffb672f01f, size=32, cache=kmalloc-32] allocated by task 507:
 test_alloc+0xf3/0x25b

CPU: 4 PID: 107 Comm: kunit_try_catch Not tainted 5.8.0-rc6+ #7
==================================================================""",
    ),
    (
        "data_race",
        """\
BUG: KCSAN: data-race in test_kernel_read / test_kernel_write

write to 0xffffffffc009a628 of 8 bytes by task 487 on cpu 0:
 test_kernel_write+0x1d/0x30

read to 0xffffffffc009a628 of 8 bytes by task 488 on cpu 6:
 test_kernel_read+0x10/0x20

value changed: 0x00000000000009a6 -> 0x00000000000009b2

Reported by Kernel Concurrency Sanitizer on:
CPU: 6 PID: 488 Comm: access_thread Not tainted 5.12.0-rc2+ #1
==================================================================""",
    ),
    (
        "undefined_behaviour",
        """\
UBSAN: array-index-out-of-bounds in /build/linux-6.5.4/drivers/scsi/mpt3sas/mpt3sas_scsih.c:4667:12
index 1 is out of range for type 'MPI2_EVENT_SAS_TOPO_PHY_ENTRY [1]'
CPU: 15 PID: 0 Comm: swapper/15 Not tainted 6.5.4-76060504-generic
Call Trace:
 <IRQ>
 dump_stack_lvl+0x48/0x70
================================================================================""",
    ),
    (
        "undefined_behaviour",
        """\
------------[ cut here ]------------
UBSAN: shift-out-of-bounds in drivers/net/made_up.c:1031:22
shift exponent 32 is too large for 32-bit type 'unsigned int'
CPU: 1 PID: 816 Comm: (udev-worker) Tainted: P           OE      6.8.0-55-generic #57-Ubuntu
Call Trace:
 <TASK>
 dump_stack_lvl+0x76/0xa0
 </TASK>
---[ end trace ]---""",
    ),
    (
        "lockdep",
        """\
WARNING: possible circular locking dependency detected
6.12.29aufsD+ #532 Not tainted
------------------------------------------------------
mount/28040 is trying to acquire lock:
ffff899148b870c8 (&sbinfo->si_rwsem){++++}-{3:3}, at: aufs_statfs+0x41/0x560 [aufs]

but task is already holding lock:
ffff899144bdeb38 (&q->limits_lock){+.+.}-{3:3}, at: loop_configure+0x258/0x5d0 [loop]

which lock already depends on the new lock.

the existing dependency chain (in reverse order) is:

-> #4 (&q->limits_lock){+.+.}-{3:3}:
       __mutex_lock+0x98/0xbc0

 *** DEADLOCK ***

1 lock held by mount/28040:
stack backtrace:
CPU: 0 UID: 0 PID: 28040 Comm: mount Not tainted 6.12.29aufsD+ #532
Call Trace:
 <TASK>
 dump_stack_lvl+0x62/0x90
 </TASK>""",
    ),
    (
        "lockdep",
        "[ INFO: possible circular locking dependency detected ]\n4.5.0-ceph-10672-g5ef5edb #1 Not tainted\n"
        "tp_fstore_op/28134 is trying to acquire lock:",
    ),
    (
        "kernel_warning",
        """\
------------[ cut here ]------------
refcount_t: underflow; use-after-free.
WARNING: CPU: 1 PID: 17 at lib/refcount.c:187 refcount_sub_and_test_checked+0x3e/0x50
Modules linked in: cls_fw cls_u32 xt_tcpudp
 crc16 mbcache jbd2 fscrypto dm_mod crc32c_intel nvme ena nvme_core i2c_piix4
CPU: 1 PID: 17 Comm: ksoftirqd/1 Not tainted 4.19.67-matt #1
RIP: 0010:refcount_sub_and_test_checked+0x3e/0x50
Call Trace:
 tcp_wfree+0xa8/0x140
---[ end trace a0b92057287120e6 ]---""",
    ),
    (
        "kernel_warning",
        """\
------------[ cut here ]------------
WARNING: CPU: 0 PID: 60 at fs/btrfs/super.c:254 0xc01cf724()
btrfs: Transaction aborted (error -5)
Modules linked in: lirc_rpi(C) lirc_dev rc_core
CPU: 0 PID: 60 Comm: btrfs-transacti Tainted: G        WC   3.13.6+ #1
Function entered at [<c00154dc>] from [<c0012454>]
---[ end trace a0b92057287120e6 ]---""",
    ),
    (
        "kernel_warning",
        "------------[ cut here ]------------\n"
        "NETDEV WATCHDOG: eth0 (e1000e): transmit queue 0 timed out 5120 ms\n"
        "WARNING: net/sched/sch_generic.c:525 at dev_watchdog+0x21f/0x230, CPU#2: swapper/2/0\n"
        "Modules linked in:\n---[ end trace 0000000000000000 ]---",
    ),
    (
        "soft_lockup",
        """\
watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [cc1plus:171665]
Modules linked in:
CPU: 1 PID: 171665 Comm: cc1plus Not tainted 5.12.0-gnu #2
Hardware name: sifive,freedom-u74-arty (DT)
epc : 0000000000cc9d6e ra : 0000000000d80428 sp : 0000003fffe6f8a0
 gp : 0000000001b4b478 tp : 0000003fed692710 t0 : 0000000000000020
status: 0000000200004020 badaddr: 0000000000000000 cause: 8000000000000005""",
    ),
    ("soft_lockup", "NMI watchdog: BUG: soft lockup - CPU#2 stuck for 23s! [thread1:6678]\nModules linked in: ast"),
    ("soft_lockup", "BUG: soft lockup - CPU#6 stuck for 67s! [z_wr_iss/6:5856]\nModules linked in: nfsd"),
    ("hard_lockup", "NMI watchdog: Watchdog detected hard LOCKUP on cpu 0\nModules linked in:\nirq event stamp: 92"),
    ("hard_lockup", "watchdog: CPU3: Watchdog detected hard LOCKUP on cpu 3\nModules linked in: snd_hda_codec"),
    (
        "hard_lockup",
        "watchdog: Watchdog detected hard LOCKUP on cpu 6\nSending NMI from CPU 5 to CPUs 6:\nNMI backtrace for cpu 6",
    ),
    (
        "workqueue_lockup",
        "BUG: workqueue lockup - pool cpus=1 node=0 flags=0x0 nice=0 stuck for 31s!",
    ),
    (
        "rcu_stall",
        """\
rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:
rcu:     0-...0: (5 ticks this GP) idle=04cc/1/0x4000000000000000 softirq=38/44 fqs=2579
rcu:     (detected by 3, t=5252 jiffies, g=-1139, q=146 ncpus=4)
Sending NMI from CPU 3 to CPUs 0:
rcu: rcu_preempt kthread timer wakeup didn't happen for 2501 jiffies! g-1139 f0x0 RCU_GP_WAIT_FQS(5) ->state=0x402
rcu:     Possible timer handling issue on cpu=3 timer-softirq=2591
rcu: rcu_preempt kthread starved for 2503 jiffies! g-1139 f0x0 RCU_GP_WAIT_FQS(5) ->state=0x402 ->cpu=3
rcu:     Unless rcu_preempt kthread gets sufficient CPU time, OOM is now expected behavior.
rcu: RCU grace-period kthread stack dump:
task:rcu_preempt     state:I stack:0     pid:15    tgid:15    ppid:2      task_flags:0x208040 flags:0x00000010
Call trace:
 __switch_to+0xe4/0x168""",
    ),
    (
        "rcu_stall",
        """\
INFO: rcu_sched detected stalls on CPUs/tasks:
	1-...: (4 GPs behind) idle=aec/0/0 softirq=2209/2209 fqs=0
	(detected by 2, t=5252 jiffies, g=133525, c=133524, q=98)
Sending NMI from CPU 2 to CPUs 1:
rcu_sched kthread starved for 5252 jiffies! g133525 c133524 f0x0 RCU_GP_WAIT_FQS(3) ->state=0x402 ->cpu=3""",
    ),
    (
        "rcu_stall",
        "rcu: INFO: rcu_sched self-detected stall on CPU\nrcu:     1-....: (8382 ticks this GP) idle=3a04/1/0x4",
    ),
    (
        "rcu_stall",
        "rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 0-... } 6 jiffies s: 85 root: 0x1/.\n"
        "rcu: blocking rcu_node structures (internal RCU debug):\nTask dump for CPU 0:",
    ),
    (
        "hung_task",
        """\
INFO: task btrfs-transacti:186 blocked for more than 120 seconds.
      Tainted: G           OE  3.19.0-25-generic #26~14.04.1-Ubuntu
"echo 0 > /proc/sys/kernel/hung_task_timeout_secs" disables this message.
btrfs-transacti D ffff880036a27c18     0   186      2 0x00000000
 ffff880036a27c18 ffff88003640bae0 0000000000013e80 ffff880036a27fd8
Call Trace:
 [<ffffffff817b22e9>] schedule+0x29/0x70""".replace("btrfs-transacti D", "task:btrfs-transacti D"),
    ),
    (
        "unhandled_interrupt",
        """\
irq 13: nobody cared (try booting with the "irqpoll" option)
CPU: 0 PID: 0 Comm: swapper/0 Not tainted 5.4.0-seattle-00009-g909b20467ed1 #133
Hardware name: linux,dummy-virt (DT)
Call trace:
 dump_backtrace+0x0/0x140
 __report_bad_irq+0x48/0xd4
handlers:
[<0000000070ec9b05>] tis_int_handler [tpm_tis_core]
Disabling IRQ #13""",
    ),
    (
        "oom_kill",
        """\
pool invoked oom-killer: gfp_mask=0x6200ca(GFP_HIGHUSER_MOVABLE), order=0, oom_score_adj=0
CPU: 2 PID: 11554 Comm: pool Not tainted 4.18.0 #1
Call Trace:
 dump_stack+0x19/0x1b
Mem-Info:
active_anon:239 inactive_anon:6756 isolated_anon:0
                active_file:9815 inactive_file:20182 isolated_file:128
Node 0 active_anon:956kB inactive_anon:27024kB active_file:60112kB inactive_file:60316kB
DMA free:15872kB min:28kB low:40kB high:52kB
lowmem_reserve[]: 0 3402 64168 64168 64168
0 pages in swap cache
Tasks state (memory values in pages):
[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name
[   1440763]     0 1440763 21758346 15090085 122408960        0             0 perl
oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task=perl,pid=1440763,uid=21417
Out of memory: Killed process 1440763 (perl) total-vm:87033376kB, anon-rss:60356340kB, file-rss:0kB""",
    ),
    ("oom_kill", "Out of memory: Kill process 4242 (java) score 901 or sacrifice child"),
    ("oom_kill", "Memory cgroup out of memory: Killed process 270 (tail) total-vm:22592kB, anon-rss:19784kB"),
    ("oom_kill", "Out of memory (oom_kill_allocating_task): Killed process 9 (x) total-vm:1kB"),
    (
        "allocation_failure",
        """\
kworker/u8:0: page allocation failure: order:4, mode:0x40cc0(GFP_KERNEL|__GFP_COMP), nodemask=(null)
CPU: 0 PID: 7 Comm: kworker/u8:0 Not tainted 5.10.0 #1
Call Trace:
 dump_stack+0x6b/0x83
Mem-Info:
Node 0 DMA free:1012kB min:64kB
128 pages RAM""",
    ),
    (
        "segfault",
        "perl[270]: segfault at 1 ip 00007fe15484ad76 sp 00007fff571b8868 error 4 in libc.so.6[7fe1547c7000+156000]",
    ),
    (
        "segfault",
        "python3[812]: segfault at 0 ip 00007f1 sp 00007ffe error 6 in libcuda.so[7f1+2000] likely on CPU 1 (core 1, socket 0)\n"
        "Code: 00 00 66 90 66 0f ef c0 66 0f ef c9 66 0f ef d2",
    ),
    (
        "segfault",
        "traps: Web Content[4242] general protection fault ip:7f0c5a1 sp:7ffd2 error:0 in libxul.so[7f0c+5000]",
    ),
    ("segfault", "traps: sh[99] trap invalid opcode ip:55d0 sp:7ffe error:0 in sh[55d0+1000]"),
    ("segfault", "a.out[77]: unhandled signal 11 code 0x1 at 0x0000000000000000 in a.out[10000+1000]"),
    ("core_dump", "systemd-coredump[301]: [🡕] Process 299 (perl) of user 0 dumped core."),
    (
        "core_dump",
        "systemd-coredump[301]: Process 299 (perl) of user 1000 terminated abnormally without generating a coredump.",
    ),
    (
        "hardware_error",
        """\
mce: [Hardware Error]: Machine check events logged
mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 4: a600000000020408
mce: [Hardware Error]: TSC 0 ADDR fef4c9e0
mce: [Hardware Error]: PROCESSOR 0:706a1 TIME 1537152664 SOCKET 0 APIC 0 microcode 28""",
    ),
    (
        "hardware_error",
        "{1}[Hardware Error]: Hardware error from APEI Generic Hardware Error Source: 0\n"
        "{1}[Hardware Error]: event severity: corrected",
    ),
    (
        "hardware_error",
        "EDAC MC1: 1 CE memory scrubbing error on CPU_SrcID#1_Ha#0_Chan#0_DIMM#0 (channel:0 slot:0 page:0xee30a0)",
    ),
    (
        "pcie_error",
        """\
pcieport 0000:00:1c.1: AER: Multiple Corrected error received: 0000:00:1c.1
pcieport 0000:00:1c.1: PCIe Bus Error: severity=Corrected, type=Data Link Layer, (Transmitter ID)
pcieport 0000:00:1c.1:   device [8086:8c12] error status/mask=00001000/00002000
pcieport 0000:00:1c.1:    [12] Timeout""",
    ),
    ("pcie_error", "pcieport 0000:00:03.0: AER: Uncorrectable (Fatal) error message received from 0000:01:00.0"),
    ("overheating", "thermal thermal_zone0: acpitz: critical temperature reached, shutting down"),
    ("under_voltage", "hwmon hwmon1: Undervoltage detected!"),
    ("under_voltage", "Under-voltage detected! (0x00050005)"),
    (
        "ext_error",
        "EXT4-fs error (device vda): ext4_lookup:1855: inode #2: comm ls: deleted inode referenced: 12\n"
        "Aborting journal on device vda-8.",
    ),
    (
        "ext_error",
        "EXT4-fs (sda1): Delayed block allocation failed for inode 12 at logical offset 0 with max blocks 1 with error 28",
    ),
    ("ext_error", "JBD2: Detected IO errors while flushing file data on loop0-8"),
    ("read_only", "EXT4-fs (vda): Remounting filesystem read-only"),
    ("read_only", "BTRFS info (device sda3: state E): forced readonly"),
    ("read_only", "FAT-fs (sda1): Filesystem has been set read-only"),
    (
        "xfs_error",
        """\
XFS (vda4): Metadata corruption detected at xfs_buf_ioend+0x162/0x570 [xfs], xfs_inode block 0x2fc4e0 xfs_inode_buf_verify
XFS (vda4): Unmount and run xfs_repair
XFS (vda4): First 128 bytes of corrupted metadata buffer:
00000000: 49 4e 81 a4 03 02 00 00 00 00 00 00 00 00 00 00  IN..............
00000010: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................""",
    ),
    ("xfs_error", 'XFS (nbd0): metadata I/O error in "xfs_buf_ioend+0x1" at daddr 0x1 len 8 error 5'),
    (
        "btrfs_error",
        "BTRFS error (device vda3): parent transid verify failed on logical 60178432 mirror 1 wanted 13 found 0\n"
        "BTRFS error (device vda3): bdev /dev/vda3 errs: wr 0, rd 0, flush 0, corrupt 1, gen 0",
    ),
    ("btrfs_error", "BTRFS: error (device nvme2n1) in __btrfs_update_delayed_inode:1075: errno=-5 IO failure"),
    (
        "io_error",
        """\
I/O error, dev vdc, sector 0 op 0x0:(READ) flags 0x80700 phys_seg 4 prio class 2
I/O error, dev vdc, sector 16 op 0x0:(READ) flags 0x0 phys_seg 1 prio class 2
Buffer I/O error on dev vdc, logical block 2, async page read""",
    ),
    (
        "io_error",
        """\
ata1.00: exception Emask 0x0 SAct 0x2000000 SErr 0x0 action 0x0
ata1.00: irq_stat 0x40000008
ata1.00: failed command: READ FPDMA QUEUED
ata1.00: cmd 60/18:c8:28:84:bd/03:00:22:00:00/40 tag 25 ncq dma 405504 in
         res 43/40:18:d8:84:bd/00:03:22:00:00/00 Emask 0x408 (media error) <F>
ata1.00: status: { DRDY SENSE ERR }
ata1.00: configured for UDMA/133
sd 0:0:0:0: [sda] tag#25 FAILED Result: hostbyte=DID_OK driverbyte=DRIVER_SENSE
sd 0:0:0:0: [sda] tag#25 Sense Key : Medium Error [current]
print_req_error: I/O error, dev sda, sector 582845656
ata1: EH complete""",
    ),
    ("io_error", "blk_update_request: critical medium error, dev sda, sector 1234 op 0x0:(READ) flags 0x0"),
    ("io_error", "sd 2:0:0:0: rejecting I/O to offline device"),
    ("io_error", "nvme nvme0: I/O 12 QID 3 timeout, aborting"),
    ("fsck_failed", "/dev/vda: UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY."),
    ("fsck_failed", "systemd-fsck[212]: /dev/sda2: UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY."),
    ("watchdog_reset", "softdog: Initiating system reboot"),
    ("watchdog_reset", "watchdog: watchdog0: pretimeout event"),
    ("watchdog_reset", "Reset cause: WDOG"),
    ("boot_loader", "No bootable device."),
    ("boot_loader", "grub rescue> "),
    ("boot_loader", "### ERROR ### Please RESET the board ###"),
    (
        "initramfs_shell",
        """\
Gave up waiting for root file system device.  Common problems:
 - Boot args (cat /proc/cmdline)
   - Check rootdelay= (did the system wait long enough?)
 - Missing modules (cat /proc/modules; ls /dev)
ALERT!  /dev/vdz does not exist.  Dropping to a shell!""",
    ),
    ("initramfs_shell", "dracut: FATAL: Don't know how to handle 'root=live:/dev/sr0'\ndracut: Refusing to continue"),
    (
        "emergency_shell",
        """\
You are in emergency mode. After logging in, type "journalctl -xb" to view
system logs, "systemctl reboot" to reboot, "systemctl default" or "exit"
to boot into default mode.
Press Enter for maintenance
(or press Control-D to continue): """,
    ),
    ("emergency_shell", "Cannot open access to console, the root account is locked."),
    (
        "unit_failed",
        "[FAILED] Failed to start bad.service - A unit that cannot start.\nSee 'systemctl status bad.service' for details.",
    ),
    ("unit_failed", "[FAILED] Failed to mount /srv.\nSee 'systemctl status srv.mount' for details."),
    ("unit_failed", "[FAILED] Failed to listen on sshd.socket - OpenSSH Server Socket."),
    ("dependency_failed", "[DEPEND] Dependency failed for need…ervice - A unit that needs it."),
    ("timed_out", "[ TIME ] Timed out waiting for device dev-vdz.device - /dev/vdz."),
    ("timed_out", "[ TIME ] Timed out starting slow.service - Slow."),
    ("ordering_cycle", "[ SKIP ] Ordering cycle found, skipping local-fs-pre.target"),
)

KMSG: tuple[tuple[str, str], ...] = (
    (
        "ordering_cycle",
        """\
systemd[1]: cycle-a.service: Found ordering cycle on cycle-b.service/start
systemd[1]: cycle-a.service: Found dependency on cycle-a.service/start
systemd[1]: cycle-a.service: Job cycle-b.service/start deleted to break ordering cycle starting with cycle-a.service/start""",
    ),
    ("unit_failed", "systemd[1]: Failed to start bad.service - A unit that cannot start."),
    ("dependency_failed", "systemd[1]: Dependency failed for srv.mount - A file system."),
    ("unit_died", "systemd[1]: ssh.service: Failed with result 'exit-code'."),
    ("unit_died", "systemd[1]: slow.service: Watchdog timeout (limit 3min)!"),
)
"""What systemd writes to the kernel's log, where that goes to the console."""

HARMLESS = """\
SeaBIOS (version 1.16.2-debian-1.16.2-1)
Boot failed: not a bootable disk
random: crng init done
WARNING: Unprivileged eBPF is enabled with eIBRS on, data leaks possible via Spectre v2 BHB attacks!
Warning: fsck not present, so skipping root file system
NMI watchdog: Perf NMI watchdog permanently disabled
NMI watchdog: Enabled. Permanently consumes one hw-PMU counter.
watchdog: watchdog0: watchdog did not stop!
ACPI BIOS Error (bug): Could not resolve symbol [\\_SB.PCI0], AE_NOT_FOUND (20220331/psargs-330)
ACPI: Reserving BERT table memory at [mem 0x3ffe20ff-0x3ffe21f2]
PCI: Using host bridge windows from ACPI; if necessary, use "pci=nocrs" and report a bug
mce: CPU supports 7 MCE banks
mce: CPU6: Package temperature above threshold, cpu clock throttled (total events = 1)
EXT4-fs (vda): mounted filesystem with ordered data mode. Quota mode: none.
EXT4-fs (vda): re-mounted. Quota mode: none.
EXT4-fs (loop0): recovery complete
BTRFS info (device vda3): read error corrected: ino 0 off 254406656 (dev /dev/vda3 sector 513272)
XFS (vda4): Ending clean mount
XFS (vda4): Starting recovery (logdev: internal)
systemd[1]: systemd-firstboot.service - First Boot Wizard was skipped because of an unmet condition check.
systemd[1]: Hostname set to <vm1>.
systemd[1]: run-u3.service: Deactivated successfully.
[  OK  ] Started emergency-check.service - Looks for emergencies.
[  OK  ] Finished systemd-fsck-root.service - File System Check on Root Device.
         Starting rescue-tools.service - Tools for rescue...
oom_reaper: reaped process 1440763 (perl), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB
note: sh[123] exited with irqs disabled
sysrq: Show backtrace of all active CPUs
NMI backtrace for cpu 1
CPU: 1 PID: 347 Comm: sh Not tainted 6.1.0-56-cloud-amd64 #1  Debian 6.1.192-2
Call Trace:
 <TASK>
 dump_stack_lvl+0x44/0x5c
 </TASK>
INFO: NMI handler (nmi_cpu_backtrace_handler) took too long to run: 26.256 msecs
INFO: lockdep is turned off.
clocksource: timekeeping watchdog on CPU1: Marking clocksource 'tsc' as unstable because the skew is too large:
hrtimer: interrupt took 31969353 ns
perf: interrupt took too long (2503 > 2500), lowering kernel.perf_event_max_sample_rate to 79750
usb 1-1: device descriptor read/64, error -71
sd 0:0:0:0: [sda] Attached SCSI disk
ata1: SATA link up 6.0 Gbps (SStatus 133 SControl 300)
Direct firmware load for iwlwifi-9000.ucode failed with error -2
FAILED: 0 of 12 tests, OK
vm1 login: root
Last login: Mon Nov 23 05:12:00 UTC 2026 on ttyS0
root@vm1:~# echo 'Kernel panic - not syncing: not at all'
root@vm1:~# dmesg | grep -c 'BUG: '
reboot: Restarting system""".splitlines()
"""Lines that look like trouble to a careless eye, or stand between those that are."""
