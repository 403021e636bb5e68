/** The texts of every page, in Arabic. */
import type { Base } from '../en/index.ts'

export const base: Base = {
  app: { skip: 'إلى المحتوى', offline: 'أنت غير متصل. ما يحتاج إلى الشبكة ينتظر.', update: 'توجد نسخة جديدة.', reload: 'إعادة التحميل' },
  nav: { label: 'التنقل الرئيسي', verify: 'تحقّق', prove: 'إثبات', keys: 'المفاتيح', chat: 'محادثة', settings: 'الإعدادات' },
  common: {
    copy: 'نسخ',
    copied: 'نُسخ',
    cancel: 'إلغاء',
    back: 'رجوع',
    save: 'حفظ',
    saved: 'حُفظت',
    none: 'لا شيء',
    failed: 'لم ينجح ذلك',
    working: 'جارٍ العمل…',
    refused: 'هذا ليس معرّفًا أو عنوانًا أو نطاقًا أو مفتاحًا يعرفه KEZ.',
    revoked: 'مُلغى',
  },
  status: {
    valid: 'مُتحقَّق منه',
    contested: 'أكثر من مالك',
    invalid: 'مُناقَض',
    missing: 'لا إثبات هناك',
    nobody: 'لا يوجد حساب كهذا',
    revoked: 'ألغاه صاحبه',
    expired: 'منتهي الصلاحية',
    unreachable: 'يتعذّر التحقق الآن',
    fork: 'تاريخان متناقضان',
  },
}
