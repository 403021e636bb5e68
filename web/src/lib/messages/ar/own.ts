/** The texts of what all pages for one's own identity have, in Arabic. */
import type { Own } from '../en/index.ts'

export const own: Own = {
  key: {
    none: 'لا هوية في هذا المتصفح بعد.',
    make: 'أنشئ هوية',
    making: 'تُصنع في هذا المتصفح وتبقى هنا حتى تصدّرها.',
    nip07: 'استخدم إضافة nostr في متصفحي',
    nip07None: 'لا توجد إضافة nostr في هذا المتصفح. ثبّت واحدة وأعد التحميل، أو اصنع مفتاحًا هنا.',
    import: 'أحضر مفتاحًا',
    locked: 'المفتاح مقفل.',
    unlock: 'افتح القفل',
    passphrase: 'عبارة المرور',
    passphraseWrong: 'ليست هذه عبارة المرور.',
    passkeyUnlock: 'افتح القفل بمفتاح المرور',
    joinedOnly: 'هذا المتصفح جهاز: يستطيع المحادثة، لا الإثبات ولا الإلغاء. المفتاح في المتصفح الآخر.',
    scan: 'امسح بالكاميرا',
  },
  ending: { breaks: 'ما الذي ينقطع بذلك', confirm: 'نعم، افعل' },
  publication: {
    published: 'صار في سلسلة توقيعاتك، ونُشرت.',
    notPublished: 'صار في سلسلة توقيعاتك، لكن تعذّر نشرها. تبيّن الإعدادات وجهتها.',
    noServer: 'صار في سلسلة توقيعاتك، ولا خادم لها: اذكر واحدًا في الإعدادات، أو انشر الملف من المفاتيح.',
  },
}
