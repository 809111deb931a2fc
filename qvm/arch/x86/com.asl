/* SPDX-License-Identifier: Apache-2.0 */
/* One serial port at its usual place: the first, or with -D SECOND the second. */
#ifdef SECOND
#define COM_NAME COM2
#define COM_NUMBER 2
#define COM_BASE 0x2f8
#define COM_IRQ 3
#else
#define COM_NAME COM1
#define COM_NUMBER 1
#define COM_BASE 0x3f8
#define COM_IRQ 4
#endif
DefinitionBlock ("", "SSDT", 2, "PARLEY", "QVMCOM", COM_NUMBER)
{
	Scope (\_SB)
	{
		Device (COM_NAME)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, COM_NUMBER)
			Name (_CRS, ResourceTemplate () {
				IO (Decode16, COM_BASE, COM_BASE, 1, 8)
				IRQNoFlags () { COM_IRQ }
			})
		}
	}
}
