/* SPDX-License-Identifier: Apache-2.0 */
/* The HPET, for whoever looks for it here; acpi.c puts its place over this one. */
DefinitionBlock ("", "SSDT", 2, "PARLEY", "QVMHPET", 1)
{
	Scope (\_SB)
	{
		Device (HPET)
		{
			Name (_HID, EisaId ("PNP0103"))
			Name (_UID, 0)
			Name (_CRS, ResourceTemplate () {
				Memory32Fixed (ReadWrite, 0x5afe0000, 0x400)
			})
		}
	}
}
