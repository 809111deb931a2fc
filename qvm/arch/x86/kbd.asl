/* SPDX-License-Identifier: Apache-2.0 */
/* The keyboard controller at its usual place: a keyboard, no mouse. */
DefinitionBlock ("", "SSDT", 2, "PARLEY", "QVMKBD", 1)
{
	Scope (\_SB)
	{
		Device (KBD)
		{
			Name (_HID, EisaId ("PNP0303"))
			Name (_CRS, ResourceTemplate () {
				IO (Decode16, 0x0060, 0x0060, 1, 1)
				IO (Decode16, 0x0064, 0x0064, 1, 1)
				IRQNoFlags () { 1 }
			})
		}
	}
}
