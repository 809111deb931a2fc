/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of the board that a guest cannot find by itself: the PCI root with its windows and
 * interrupt lines, and what S5 is called. Numbers are those of qvm/memmap.h. Serial ports are in
 * tables of their own (com.asl).
 */
DefinitionBlock ("", "DSDT", 2, "PARLEY", "QVMDSDT", 1)
{
	Name (\_S5, Package () { 5, 0, 0, 0 })

	Scope (\_SB)
	{
		Device (PCI0)
		{
			Name (_HID, EisaId ("PNP0A08"))
			Name (_CID, EisaId ("PNP0A03"))
			Name (_UID, 0)
			Name (_BBN, 0)
			Name (_SEG, 0)
			Name (_CRS, ResourceTemplate () {
				WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
					       0, 0, 255, 0, 256)
				IO (Decode16, 0x0cf8, 0x0cf8, 1, 8)
				WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode,
					EntireRange, 0, 0xc000, 0xffff, 0, 0x4000)
				DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed,
					     NonCacheable, ReadWrite,
					     0, 0xc0000000, 0xdfffffff, 0, 0x20000000)
			})
			/* INTA of slot n is line 16 + n % 4. */
			Name (_PRT, Package () {
				Package () { 0x0001ffff, 0, 0, 17 },
				Package () { 0x0002ffff, 0, 0, 18 },
				Package () { 0x0003ffff, 0, 0, 19 },
				Package () { 0x0004ffff, 0, 0, 16 },
				Package () { 0x0005ffff, 0, 0, 17 },
				Package () { 0x0006ffff, 0, 0, 18 },
				Package () { 0x0007ffff, 0, 0, 19 },
				Package () { 0x0008ffff, 0, 0, 16 },
				Package () { 0x0009ffff, 0, 0, 17 },
				Package () { 0x000affff, 0, 0, 18 },
				Package () { 0x000bffff, 0, 0, 19 },
				Package () { 0x000cffff, 0, 0, 16 },
				Package () { 0x000dffff, 0, 0, 17 },
				Package () { 0x000effff, 0, 0, 18 },
				Package () { 0x000fffff, 0, 0, 19 },
				Package () { 0x0010ffff, 0, 0, 16 },
				Package () { 0x0011ffff, 0, 0, 17 },
				Package () { 0x0012ffff, 0, 0, 18 },
				Package () { 0x0013ffff, 0, 0, 19 },
				Package () { 0x0014ffff, 0, 0, 16 },
				Package () { 0x0015ffff, 0, 0, 17 },
				Package () { 0x0016ffff, 0, 0, 18 },
				Package () { 0x0017ffff, 0, 0, 19 },
				Package () { 0x0018ffff, 0, 0, 16 },
				Package () { 0x0019ffff, 0, 0, 17 },
				Package () { 0x001affff, 0, 0, 18 },
				Package () { 0x001bffff, 0, 0, 19 },
				Package () { 0x001cffff, 0, 0, 16 },
				Package () { 0x001dffff, 0, 0, 17 },
				Package () { 0x001effff, 0, 0, 18 },
				Package () { 0x001fffff, 0, 0, 19 }
			})
		}

		/* Keeps the configuration window out of everybody's reach. */
		Device (MBRS)
		{
			Name (_HID, EisaId ("PNP0C02"))
			Name (_UID, 0)
			Name (_CRS, ResourceTemplate () {
				Memory32Fixed (ReadWrite, 0xe0000000, 0x10000000)
			})
		}
	}
}
