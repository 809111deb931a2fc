/* SPDX-License-Identifier: Apache-2.0 */
/* The clock and its memory at their usual place. */
DefinitionBlock ("", "SSDT", 2, "PARLEY", "QVMRTC", 1)
{
	Scope (\_SB)
	{
		Device (RTC)
		{
			Name (_HID, EisaId ("PNP0B00"))
			Name (_CRS, ResourceTemplate () {
				IO (Decode16, 0x0070, 0x0070, 1, 2)
				IRQNoFlags () { 8 }
			})
		}
	}
}
